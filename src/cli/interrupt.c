/*
 * interrupt.c - see interrupt.h.
 *
 * Trap: SA_RESTART would restart the read of a terminal, and Ctrl-C at a prompt would go unnoticed until the next Enter.
 */
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t count;

static void on_interrupt(int number)
{
    (void)number;
    if (++count >= 3) _exit(VR_EXIT_INTERRUPTED);
}

void vr_interrupt_install(void)
{
    struct sigaction action = { .sa_handler = on_interrupt };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

bool vr_interrupted(void)
{
    return count > 0;
}

void vr_interrupt_clear(void)
{
    count = 0;
}
