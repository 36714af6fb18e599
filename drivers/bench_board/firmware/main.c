/* Bench board: the smallest board that is worth a driver.
 *
 * An ATmega328P at 16 MHz, 115200 baud 8N1 on USART0, lines `payload*XX\n`.
 * The protocol is told in ../README.md; the one rule behind it: a success
 * begins with the request itself, a refusal is `N<reason>` and the request,
 * and what nobody asked for has a letter that no request has (A, B, E).
 *
 * The main loop never waits: bytes come and go by interrupt, time is a tick,
 * and between two interrupts the core sleeps. It takes a byte only where the
 * answer that it may complete will fit, so that an answer is never lost; a
 * host that does not read is met by a full ring, and by counters.
 *
 * Section numbers are those of the ATmega328P data sheet, DS40002061.
 */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>
#include <stdbool.h>
#include <stdint.h>

#include "analogue.h"
#include "line.h"
#include "serial.h"

#define IDENTITY "bench-board " VERSION " " SERIAL_NUMBER
#define MAX_HZ 200u
#define MAX_FAULT 3u
#define LED_PIN PB5 /* the Uno's own LED */

_Static_assert(sizeof "ID " IDENTITY "*XX" <= ANSWER_ROOM, "the identity must fit an answer");

/* "A4294967295,1023*XX\n" */
#define STREAM_ROOM 20u

static uint8_t stream_hz;
static uint16_t stream_debt; /* thousandths of a reading that are owed */
static uint32_t streamed_until;
static bool hang_when_drained;

static uint16_t accepted;
static uint16_t bad_checksums;
static uint16_t long_lines;
static uint16_t refused;
static uint16_t unsent;

static void answer(const char *request)
{
    line_begin();
    line_text(request);
    line_end();
}

static void refuse(const char *reason, const char *request)
{
    refused++;
    line_begin();
    line_text("N");
    line_text(reason);
    line_text(" ");
    line_text(request);
    line_end();
}

/* Parse a number of one to three digits and nothing else, up to `limit`. */
static bool number_up_to(const char *text, uint8_t limit, uint8_t *number)
{
    uint16_t value = 0;
    uint8_t digits = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || ++digits > 3u)
            return false;
        value = (uint16_t)(value * 10u + (uint8_t)(*text - '0'));
    }
    if (!digits || value > limit)
        return false;
    *number = (uint8_t)value;
    return true;
}

static void report_fault(uint8_t code)
{
    static const char *const texts[MAX_FAULT] = {
        " over-temperature", " supply voltage low", " sensor broken"};
    line_begin();
    line_text("E");
    line_number(code);
    line_text(texts[code - 1u]);
    line_end();
}

static void reading(const char *head)
{
    line_begin();
    line_text(head);
    line_number(milliseconds());
    line_text(",");
    line_number(analogue_raw());
    line_end();
}

/* F0: all faults off. FH: hang. FS: silence. FC<n>: spoil checksums. FE<n>: report. */
static bool fault_command(const char *request)
{
    const char *argument = request + 1;
    uint8_t number;
    switch (argument[0]) {
    case '0':
        if (argument[1])
            return false;
        line_silence(false);
        line_corrupt_every(0);
        answer(request);
        return true;
    case 'H':
        if (argument[1])
            return false;
        answer(request);
        hang_when_drained = true;
        return true;
    case 'S':
        if (argument[1])
            return false;
        answer(request);
        line_silence(true);
        return true;
    case 'C':
        if (!number_up_to(argument + 1, 255u, &number))
            return false;
        answer(request);
        line_corrupt_every(number);
        return true;
    case 'E':
        if (!number_up_to(argument + 1, MAX_FAULT, &number) || !number)
            return false;
        answer(request);
        report_fault(number);
        return true;
    default:
        return false;
    }
}

static void tell_counters(void)
{
    const uint16_t counters[] = {accepted, bad_checksums, long_lines,
                                 refused,  serial_overruns(), unsent};
    line_begin();
    line_text("C ");
    for (uint8_t i = 0; i < sizeof counters / sizeof *counters; i++) {
        if (i)
            line_text(",");
        line_number(counters[i]);
    }
    line_end();
}

static void set_stream(uint8_t hz)
{
    stream_hz = hz;
    stream_debt = 0;
    streamed_until = milliseconds();
}

static void obey(const char *request)
{
    uint8_t number;
    bool understood = true;
    accepted++;
    switch (request[0]) {
    case 'I':
        if (request[1] != 'D' || request[2]) {
            refuse("unknown", request);
            return;
        }
        answer("ID " IDENTITY);
        break;
    case 'P':
        answer(request);
        break;
    case 'L':
        understood = number_up_to(request + 1, 1, &number);
        if (understood) {
            if (number)
                PORTB |= _BV(LED_PIN);
            else
                PORTB &= (uint8_t)~_BV(LED_PIN);
            answer(request);
        }
        break;
    case 'S':
        understood = number_up_to(request + 1, MAX_HZ, &number);
        if (understood) {
            answer(request);
            set_stream(number);
        }
        break;
    case 'R':
        line_begin();
        line_text(request);
        line_text(" ");
        line_number(milliseconds());
        line_text(",");
        line_number(analogue_raw());
        line_end();
        break;
    case 'C':
        understood = !request[1];
        if (understood)
            tell_counters();
        break;
    case 'F':
        understood = fault_command(request);
        break;
    default:
        refuse("unknown", request);
        return;
    }
    if (!understood)
        refuse("argument", request);
}

/* A byte is taken only where there is room for what it may complete: a refusal
 * or an answer, and the report that may follow it. */
static bool may_listen(void)
{
    return !hang_when_drained && serial_room() >= 2u * ANSWER_ROOM;
}

static void listen(void)
{
    uint8_t byte;
    while (may_listen() && serial_take(&byte)) {
        switch (line_feed(byte)) {
        case LINE_GOOD:
            obey(line_payload());
            break;
        case LINE_CHECKSUM:
            bad_checksums++;
            answer("Nchecksum");
            break;
        case LINE_LONG:
            long_lines++;
            answer("Nlong");
            break;
        case LINE_NONE:
            break;
        }
    }
}

/* A reading for every 1000 thousandths that `stream_hz` has added up: the rate
 * is right in the long run for any number of hertz, not only for divisors of
 * 1000. */
static void stream(void)
{
    uint32_t now = milliseconds();
    while (stream_hz && streamed_until != now) {
        streamed_until++;
        stream_debt = (uint16_t)(stream_debt + stream_hz);
        if (stream_debt < 1000u)
            continue;
        stream_debt = (uint16_t)(stream_debt - 1000u);
        /* Answers come first: a reading only gets the room that they leave. */
        if (serial_room() < 2u * ANSWER_ROOM + STREAM_ROOM)
            unsent++;
        else
            reading("A");
    }
}

static void hang_for_good(void)
{
    cli();
    for (;;)
        ;
}

int main(void)
{
    /* A watchdog that outlived the reset would bite during the hang fault, and
     * the fault is there to show a board that never comes back by itself: 11.8,
     * WDRF has to be cleared before WDE can be. */
    MCUSR = 0;
    wdt_disable();

    DDRB |= _BV(LED_PIN);
    PRR = _BV(PRTWI) | _BV(PRSPI) | _BV(PRTIM1) | _BV(PRTIM2); /* 10.11: not used here */
    serial_start();
    analogue_start();
    SMCR = 0; /* 10.11: sleep means idle, where timers, USART and ADC go on */
    sei();
    answer("B " IDENTITY);

    for (;;) {
        listen();
        stream();
        if (hang_when_drained && serial_drained())
            hang_for_good();
        /* Look once more with interrupts off: a byte that came since would
         * otherwise wait for the next tick. The instruction after SEI runs
         * before any interrupt (7.7), so none slips in before the sleep. */
        cli();
        if (serial_waiting() && may_listen()) {
            sei();
            continue;
        }
        sleep_enable();
        sei();
        sleep_cpu();
        sleep_disable();
    }
}
