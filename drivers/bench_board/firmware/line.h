/* Lines `payload*XX\n`, in and out; XX is the payload's xor in hex. */
#ifndef LINE_H
#define LINE_H

#include <stdbool.h>
#include <stdint.h>

/* The longest line that is taken, its checksum included, its end not. */
#define LINE_LIMIT 64u

/* The longest line that is sent: "Nargument " and a request, its checksum and its end. */
#define ANSWER_ROOM (10u + LINE_LIMIT + 1u)

typedef enum {
    LINE_NONE,     /* the line is not complete yet */
    LINE_GOOD,     /* line_payload() holds it */
    LINE_CHECKSUM, /* complete, and damaged */
    LINE_LONG      /* has just passed the limit; the rest of it is skipped */
} line_event;

line_event line_feed(uint8_t byte);

/* The payload of the last LINE_GOOD, zero-terminated; valid until the next line_feed(). */
const char *line_payload(void);

/* Send a line piece by piece: begin, any number of texts and numbers, end.
 * The caller makes sure of the room. A silenced line is swallowed. */
void line_begin(void);
void line_text(const char *text);
void line_number(uint32_t number);
void line_end(void);

/* Faults of the sending side: every `n`-th line gets a wrong checksum (0: none); say nothing. */
void line_corrupt_every(uint8_t n);
void line_silence(bool silent);

#endif
