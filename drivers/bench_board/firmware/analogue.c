/* The millisecond tick and the analogue input that is sampled with it. Section
 * numbers are those of the ATmega328P data sheet, DS40002061. */
#include "analogue.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <util/atomic.h>

static volatile uint32_t ticks;
static volatile uint16_t sample;

void analogue_start(void)
{
    /* Timer 0, clear on compare match (15.7.2): 16 MHz / 64 / 250 = 1 kHz. */
    TCCR0A = _BV(WGM01);
    OCR0A = (uint8_t)(F_CPU / 64UL / 1000UL - 1UL);
    TIMSK0 = _BV(OCIE0A);
    TCCR0B = _BV(CS01) | _BV(CS00);

    /* Reference AVcc, channel 0 (24.9). The converter wants 50 to 200 kHz
     * for ten bits (24.4): 16 MHz / 128 = 125 kHz, 104 us a conversion. */
    ADMUX = _BV(REFS0);
    DIDR0 = _BV(ADC0D); /* the pin's digital input only costs current */
    ADCSRA = _BV(ADEN) | _BV(ADIE) | _BV(ADPS2) | _BV(ADPS1) | _BV(ADPS0);
}

ISR(TIMER0_COMPA_vect)
{
    ticks++;
    /* Started here, done long before the next tick: nobody ever waits for it. */
    ADCSRA |= _BV(ADSC);
}

ISR(ADC_vect)
{
    sample = ADC; /* ADCL before ADCH (24.9); the compiler keeps that order */
}

uint32_t milliseconds(void)
{
    uint32_t now;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        now = ticks;
    }
    return now;
}

uint16_t analogue_raw(void)
{
    uint16_t raw;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE)
    {
        raw = sample;
    }
    return raw;
}
