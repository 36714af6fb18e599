/* USART0 behind two ring buffers, so that neither direction waits for the other. */
#ifndef SERIAL_H
#define SERIAL_H

#include <stdbool.h>
#include <stdint.h>

void serial_start(void);

/* Take one received byte; false when there is none. */
bool serial_take(uint8_t *byte);

/* True while received bytes wait to be taken. */
bool serial_waiting(void);

/* Bytes that can be put now without losing one. */
uint8_t serial_room(void);

/* Queue one byte. The caller has asked serial_room() first; a byte that does not fit is lost. */
void serial_put(uint8_t byte);

/* True when the last stop bit has left the pin. */
bool serial_drained(void);

/* Bytes that came in and were lost: the ring was full, or the USART overran. */
uint16_t serial_overruns(void);

#endif
