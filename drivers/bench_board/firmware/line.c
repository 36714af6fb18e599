/* Lines `payload*XX\n`, in and out. */
#include "line.h"

#include "serial.h"

/* One byte over the limit may still be the \r before the end of a line that is
 * just long enough, and takes the terminating zero otherwise. */
static char buffer[LINE_LIMIT + 1u];
static uint8_t length;
static bool skipping;

static uint8_t sum;
static uint8_t corrupt_every;
static uint8_t since_corrupt;
static bool silenced;

static int8_t hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return (int8_t)(digit - '0');
    if (digit >= 'A' && digit <= 'F')
        return (int8_t)(digit - 'A' + 10);
    if (digit >= 'a' && digit <= 'f')
        return (int8_t)(digit - 'a' + 10);
    return -1;
}

static line_event judge(void)
{
    uint8_t end = length;
    length = 0;
    if (end && buffer[end - 1u] == '\r')
        end--;
    /* An empty line is what a person at a terminal sends to see who is there,
     * and what many a converter sends when it is opened: not worth a word. */
    if (!end)
        return LINE_NONE;
    if (end > LINE_LIMIT)
        return LINE_LONG;
    if (end < 3u || buffer[end - 3u] != '*')
        return LINE_CHECKSUM;
    int8_t high = hex_value(buffer[end - 2u]);
    int8_t low = hex_value(buffer[end - 1u]);
    if (high < 0 || low < 0)
        return LINE_CHECKSUM;
    uint8_t expected = 0;
    uint8_t payload_length = (uint8_t)(end - 3u);
    for (uint8_t i = 0; i < payload_length; i++) {
        /* No request holds a control character; one that a checksum vouches
         * for by chance would cut the answer that repeats it. */
        if ((uint8_t)buffer[i] < ' ')
            return LINE_CHECKSUM;
        expected ^= (uint8_t)buffer[i];
    }
    if (expected != (uint8_t)((high << 4) | low))
        return LINE_CHECKSUM;
    buffer[payload_length] = '\0';
    return LINE_GOOD;
}

line_event line_feed(uint8_t byte)
{
    if (byte == '\n') {
        bool skipped = skipping;
        skipping = false;
        if (skipped) {
            length = 0;
            return LINE_NONE;
        }
        return judge();
    }
    if (skipping)
        return LINE_NONE;
    if (length == sizeof buffer) {
        /* Said at once and not at its end, which may never come. */
        skipping = true;
        return LINE_LONG;
    }
    buffer[length++] = (char)byte;
    return LINE_NONE;
}

const char *line_payload(void)
{
    return buffer;
}

static void emit(char c)
{
    if (!silenced)
        serial_put((uint8_t)c);
}

static void emit_hex(uint8_t nibble)
{
    emit("0123456789ABCDEF"[nibble]);
}

void line_begin(void)
{
    sum = 0;
}

void line_text(const char *text)
{
    for (; *text; text++) {
        sum ^= (uint8_t)*text;
        emit(*text);
    }
}

void line_number(uint32_t number)
{
    char digits[11]; /* 4294967295 and the zero */
    char *digit = digits + sizeof digits - 1;
    *digit = '\0';
    do {
        *--digit = (char)('0' + number % 10u);
        number /= 10u;
    } while (number);
    line_text(digit);
}

void line_end(void)
{
    if (corrupt_every && ++since_corrupt >= corrupt_every) {
        since_corrupt = 0;
        sum ^= 0xFFu;
    }
    emit('*');
    emit_hex(sum >> 4);
    emit_hex(sum & 0x0Fu);
    emit('\n');
}

void line_corrupt_every(uint8_t n)
{
    corrupt_every = n;
    since_corrupt = 0;
}

void line_silence(bool silent)
{
    silenced = silent;
}
