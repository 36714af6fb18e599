/* The millisecond tick and the analogue input that is sampled with it. */
#ifndef ANALOGUE_H
#define ANALOGUE_H

#include <stdint.h>

void analogue_start(void);

/* Milliseconds since the reset; wraps after 49.7 days. */
uint32_t milliseconds(void);

/* The last sample of ADC0, 0 to 1023 of 5 V; at most a millisecond old. */
uint16_t analogue_raw(void);

#endif
