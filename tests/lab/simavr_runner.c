/* Run firmware for an AVR in simavr, its USART0 on a pty, in real time.
 *
 *     simavr_runner MCU HERTZ FIRMWARE.elf [MILLIVOLTS]
 *
 * Prints `PTY /dev/pts/N` once it can be opened, then `PB5 0` or `PB5 1`
 * whenever that pin changes. ADC0 sees MILLIVOLTS, or a slow triangle where
 * none are given. Ends with its parent, or when the firmware crashes.
 *
 * It brings its own pty and its own pace, for three reasons. Bytes are handed
 * to the USART at the line's rate, so that a burst meets the firmware's
 * buffers and not the emulator's. A sleeping core sleeps here as well, in
 * ppoll(), so that an idle board costs no CPU. And whoever stops the emulator
 * for a while (SIGSTOP) finds it going on from there, not racing to catch up.
 *
 * It refuses to keep what nobody reads: where the pty is full, bytes are
 * dropped, as on a wire.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <simavr/avr_adc.h>
#include <simavr/avr_ioport.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <simavr/sim_time.h>

enum {
    BYTE_US = 87,         /* ten bits at 115200 baud */
    LOOK_US = 1000,       /* how often a busy core's pty is looked at */
    PARENT_US = 250000,   /* how often to ask whether the parent lives */
    AHEAD_US = 2000,      /* how far an eager wake-up may run ahead of the clock */
    BEHIND_US = 50000,    /* further behind than this is not made good */
    TRIANGLE_US = 20000000,
};

static avr_t *avr;
static int master = -1;
static pid_t parent;
static int fixed_millivolts = -1;
static avr_irq_t *uart_input;

static uint8_t inbox[4096];
static size_t inbox_start, inbox_end;

static int64_t pace; /* wall time in microseconds at simulated cycle 0 */

static int64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t simulated_us(void)
{
    return (int64_t)(avr->cycle * 1000000u / avr->frequency);
}

static avr_cycle_count_t hand_over(avr_t *a, avr_cycle_count_t when, void *parameter)
{
    (void)a, (void)parameter;
    if (inbox_start == inbox_end)
        return 0;
    avr_raise_irq(uart_input, inbox[inbox_start++]);
    return when + avr_usec_to_cycles(avr, BYTE_US);
}

static void take_in(void)
{
    if (inbox_start != inbox_end)
        return; /* the line is busy; the pty keeps the rest */
    ssize_t count = read(master, inbox, sizeof inbox);
    if (count <= 0)
        return;
    inbox_start = 0;
    inbox_end = (size_t)count;
    avr_cycle_timer_register(avr, 1, hand_over, NULL);
}

static avr_cycle_count_t look(avr_t *a, avr_cycle_count_t when, void *parameter)
{
    (void)a, (void)parameter;
    take_in();
    return when + avr_usec_to_cycles(avr, LOOK_US);
}

static avr_cycle_count_t look_after_parent(avr_t *a, avr_cycle_count_t when, void *parameter)
{
    (void)a, (void)parameter;
    if (getppid() != parent)
        exit(0);
    return when + avr_usec_to_cycles(avr, PARENT_US);
}

/* Stay with the clock: return how far the simulation is ahead of it. */
static int64_t ahead_us(void)
{
    int64_t ahead = pace + simulated_us() - wall_us();
    if (ahead < -BEHIND_US) {
        pace -= ahead;
        ahead = 0;
    }
    return ahead;
}

/* simavr's hook for a core that sleeps until its next timer, in `cycles`.
 *
 * simavr adds `cycles` to the clock when this returns. A byte that arrives
 * earlier ends the sleep earlier, so what was not slept is taken off here. */
static void sleep_like_the_core(avr_t *a, avr_cycle_count_t cycles)
{
    (void)a;
    int64_t ahead = ahead_us();
    int64_t until = ahead + (int64_t)(cycles * 1000000u / avr->frequency);
    if (until <= 0)
        return;
    struct pollfd wait = {.fd = master, .events = POLLIN};
    int listening = inbox_start == inbox_end;
    struct timespec left = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};
    if (ppoll(&wait, (nfds_t)listening, &left, NULL) <= 0)
        return;
    int64_t early = -ahead_us();
    avr_cycle_count_t slept = early > 0 ? avr_usec_to_cycles(avr, (uint32_t)early) : 0;
    if (slept > cycles)
        slept = cycles;
    avr->cycle += slept;
    take_in();
    avr->cycle -= cycles;
}

/* A core that never sleeps is held back here, now and then. */
static avr_cycle_count_t hold_back(avr_t *a, avr_cycle_count_t when, void *parameter)
{
    (void)a, (void)parameter;
    int64_t ahead = ahead_us();
    if (ahead > AHEAD_US) {
        struct timespec left = {.tv_nsec = (ahead - AHEAD_US) * 1000};
        nanosleep(&left, NULL);
    }
    return when + avr_usec_to_cycles(avr, LOOK_US);
}

static void byte_out(avr_irq_t *irq, uint32_t value, void *parameter)
{
    (void)irq, (void)parameter;
    uint8_t byte = (uint8_t)value;
    if (write(master, &byte, 1) < 0 && errno != EAGAIN)
        perror("write to the pty");
}

static void pin_changed(avr_irq_t *irq, uint32_t value, void *parameter)
{
    (void)irq, (void)parameter;
    char line[] = "PB5 0\n";
    line[4] = value ? '1' : '0';
    if (write(STDOUT_FILENO, line, sizeof line - 1) < 0 && errno != EAGAIN)
        exit(0); /* nobody listens any more */
}

static void convert(avr_irq_t *irq, uint32_t value, void *parameter)
{
    (void)irq, (void)value;
    int64_t phase = simulated_us() % TRIANGLE_US;
    int64_t half = TRIANGLE_US / 2;
    int64_t slope = phase < half ? phase : TRIANGLE_US - phase;
    uint32_t millivolts = fixed_millivolts >= 0 ? (uint32_t)fixed_millivolts
                                                : (uint32_t)(500 + 4000 * slope / half);
    avr_raise_irq((avr_irq_t *)parameter + ADC_IRQ_ADC0, millivolts);
}

static void open_pty(void)
{
    master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (master < 0 || grantpt(master) || unlockpt(master)) {
        perror("pty");
        exit(1);
    }
    /* Kept open for good: with no slave open the master reads as hung up. */
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios settings;
    if (slave < 0 || tcgetattr(slave, &settings)) {
        perror("pty slave");
        exit(1);
    }
    cfmakeraw(&settings); /* a wire has no echo */
    tcsetattr(slave, TCSANOW, &settings);
}

static void wire_up(void)
{
    avr_irq_t *uart = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), 0);
    uint32_t flags = 0; /* no echo on stdout, no sleep of simavr's own making */
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    uart_input = uart + UART_IRQ_INPUT;
    avr_irq_register_notify(uart + UART_IRQ_OUTPUT, byte_out, NULL);

    avr_irq_t *adc = avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, 0);
    avr_irq_register_notify(adc + ADC_IRQ_OUT_TRIGGER, convert, adc);

    avr_irq_t *pin = avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('B'), IOPORT_IRQ_PIN5);
    avr_irq_register_notify(pin, pin_changed, NULL);

    avr->sleep = sleep_like_the_core;
    avr_cycle_timer_register_usec(avr, LOOK_US, look, NULL);
    avr_cycle_timer_register_usec(avr, LOOK_US, hold_back, NULL);
    avr_cycle_timer_register_usec(avr, PARENT_US, look_after_parent, NULL);
}

int main(int count, char **arguments)
{
    if (count < 4 || count > 5) {
        fprintf(stderr, "usage: %s MCU HERTZ FIRMWARE.elf [MILLIVOLTS]\n", arguments[0]);
        return 2;
    }
    parent = getppid();
    if (count == 5)
        fixed_millivolts = atoi(arguments[4]);
    signal(SIGPIPE, SIG_IGN);
    fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);

    elf_firmware_t firmware = {0};
    avr = avr_make_mcu_by_name(arguments[1]);
    if (!avr || elf_read_firmware(arguments[3], &firmware)) {
        fprintf(stderr, "no such MCU or firmware: %s, %s\n", arguments[1], arguments[3]);
        return 2;
    }
    avr_init(avr);
    avr_load_firmware(avr, &firmware);
    avr->frequency = (uint32_t)atol(arguments[2]);
    avr->vcc = avr->avcc = avr->aref = 5000;
    open_pty();
    wire_up();
    dprintf(STDOUT_FILENO, "PTY %s\n", ptsname(master));

    pace = wall_us();
    for (;;) {
        int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed) {
            fprintf(stderr, "the firmware has %s\n", state == cpu_Done ? "ended" : "crashed");
            return 1;
        }
    }
}
