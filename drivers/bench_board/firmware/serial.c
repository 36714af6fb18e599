/* USART0 behind two ring buffers. Section numbers are those of the ATmega328P
 * data sheet, DS40002061. */
#include "serial.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <util/atomic.h>

#define BAUD 115200UL

/* Double speed (U2X0) leaves an error of +2.1 % at 16 MHz, normal speed one of
 * -3.5 % (20.10, examples of baud rate setting); 8N1 bears the first only. */
#define BAUD_REGISTER ((F_CPU + 4UL * BAUD) / (8UL * BAUD) - 1UL)

/* Both sizes are powers of two up to 256, so that an index wraps by a mask and
 * stays a single byte: a byte is read and written in one instruction, which is
 * what makes it safe between the interrupt and the main loop without a lock. */
#define RX_SIZE 256u
#define TX_SIZE 256u
#define RX_MASK ((uint8_t)(RX_SIZE - 1u))
#define TX_MASK ((uint8_t)(TX_SIZE - 1u))

static volatile uint8_t rx_ring[RX_SIZE];
static volatile uint8_t rx_head; /* written by the interrupt only */
static volatile uint8_t rx_tail; /* written by the main loop only */
static volatile uint16_t rx_overruns;

static volatile uint8_t tx_ring[TX_SIZE];
static volatile uint8_t tx_head; /* written by the main loop only */
static volatile uint8_t tx_tail; /* written by the interrupt only */
static volatile bool tx_used;    /* a byte has gone out since the last TXC0 */

void serial_start(void)
{
    UCSR0A = _BV(U2X0);                 /* 20.11, as the registers below */
    UCSR0C = _BV(UCSZ01) | _BV(UCSZ00); /* 8 data bits, no parity, 1 stop bit */
    /* The rate comes after the format: writing it is what starts the baud rate
     * generator anew (20.3.1), and an emulator computes its byte time from it. */
    UBRR0 = (uint16_t)BAUD_REGISTER;
    UCSR0B = _BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0);
}

ISR(USART_RX_vect)
{
    /* The error flags belong to the byte in UDR0 and are gone once it is read
     * (20.7), so they are looked at first. A byte with a framing error is
     * kept: the line's checksum condemns it, and is what gets counted. */
    uint8_t status = UCSR0A;
    uint8_t byte = UDR0;
    uint8_t next = (uint8_t)(rx_head + 1u) & RX_MASK;
    if (status & _BV(DOR0))
        rx_overruns++;
    if (next == rx_tail) {
        rx_overruns++;
        return;
    }
    rx_ring[rx_head] = byte;
    rx_head = next;
}

ISR(USART_UDRE_vect)
{
    uint8_t tail = tx_tail;
    UDR0 = tx_ring[tail];
    tail = (uint8_t)(tail + 1u) & TX_MASK;
    tx_tail = tail;
    /* 20.6: this interrupt comes again and again while UDR0 is empty, so it
     * is switched off with the last byte. */
    if (tail == tx_head)
        UCSR0B &= (uint8_t)~_BV(UDRIE0);
}

bool serial_take(uint8_t *byte)
{
    uint8_t tail = rx_tail;
    if (tail == rx_head)
        return false;
    *byte = rx_ring[tail];
    rx_tail = (uint8_t)(tail + 1u) & RX_MASK;
    return true;
}

bool serial_waiting(void)
{
    return rx_tail != rx_head;
}

uint8_t serial_room(void)
{
    /* One place stays free: a full ring must not look like an empty one. */
    return (uint8_t)((uint8_t)(tx_tail - tx_head) - 1u) & TX_MASK;
}

void serial_put(uint8_t byte)
{
    uint8_t head = tx_head;
    uint8_t next = (uint8_t)(head + 1u) & TX_MASK;
    if (next == tx_tail)
        return;
    tx_ring[head] = byte;
    /* Head and the interrupt's switch change together: between the two the
     * interrupt could send this byte, find the ring empty and switch itself
     * off, only to be switched on again with nothing to send. */
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        tx_head = next;
        tx_used = true;
        UCSR0A = _BV(U2X0) | _BV(TXC0); /* 20.11: TXC0 is cleared by writing a one */
        UCSR0B |= _BV(UDRIE0);
    }
}

bool serial_drained(void)
{
    return tx_head == tx_tail && (!tx_used || (UCSR0A & _BV(TXC0)));
}

uint16_t serial_overruns(void)
{
    uint16_t count;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        count = rx_overruns;
    }
    return count;
}
