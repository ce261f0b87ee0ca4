/*
 * interrupt.c - see interrupt.h.
 *
 * Trap: a signal between the prompt and the read would go unnoticed until the next Enter, and one that a worker thread receives
 *       breaks no read at all; the byte in the pipe is seen in either case.
 */
#include "cli/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static atomic_int count; /* also read by threads */
static int bell[2] = { -1, -1 }; /* pipe: a byte a signal */

static void on_interrupt(int number)
{
    (void)number;
    const int kept = errno;
    if (atomic_fetch_add(&count, 1) >= 2) _exit(VR_EXIT_INTERRUPTED);
    const ssize_t n = write(bell[1], "", 1);
    (void)n; /* full or not there: the counter says it all the same */
    errno = kept;
}

void vr_interrupt_install(void)
{
    if (pipe(bell) == 0)
        for (int i = 0; i < 2; i++) fcntl(bell[i], F_SETFL, O_NONBLOCK);
    struct sigaction action = { .sa_handler = on_interrupt };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}

int vr_interrupt_count(void)
{
    return atomic_load(&count);
}

bool vr_interrupted(void)
{
    return vr_interrupt_count() > 0;
}

static void drain_bell(void)
{
    char bytes[16];
    while (read(bell[0], bytes, sizeof bytes) > 0) {
    }
}

void vr_interrupt_clear(void)
{
    drain_bell();
    atomic_store(&count, 0);
}

unsigned vr_interrupt_poll(const int *files, int n)
{
    enum { MOST = 4 };
    struct pollfd waiting[1 + MOST] = { { .fd = bell[0], .events = POLLIN } };
    unsigned readable = 0;
    for (int i = 0; i < n && i < MOST; i++) waiting[1 + i] = (struct pollfd){ .fd = files[i], .events = POLLIN };
    while (poll(waiting, (nfds_t)(1 + n), -1) < 0 && errno == EINTR) {
    }
    if (waiting[0].revents) {
        drain_bell();
        return 0;
    }
    for (int i = 0; i < n; i++) readable |= waiting[1 + i].revents ? 1U << i : 0U;
    return readable;
}

bool vr_interrupt_wait(int file)
{
    struct pollfd waiting[2] = { { .fd = bell[0], .events = POLLIN }, { .fd = file, .events = POLLIN } };
    while (!vr_interrupted() && poll(waiting, 2, -1) < 0 && errno == EINTR) {
    }
    return !vr_interrupted();
}
