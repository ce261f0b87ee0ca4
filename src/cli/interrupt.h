/*
 * interrupt.h - Ctrl-C as a question that long work asks.
 *
 *   SIGINT -> counter -> vr_interrupted(): vr_hooks.cancelled
 *          -> pipe    -> vr_interrupt_wait(): the prompt of a conversation; vr_interrupt_poll(): a stream that is followed
 *
 * One signal stops what is under way at its next chunk; the third that nobody has answered leaves the program at once.
 */
#ifndef VR_INTERRUPT_H
#define VR_INTERRUPT_H

#include <stdbool.h>

#define VR_EXIT_INTERRUPTED 130 /* 128 + SIGINT, as shells count */

void vr_interrupt_install(void); /* also ignores SIGPIPE and SIGXFSZ: errors of the write */
bool vr_interrupted(void);
void vr_interrupt_clear(void);
bool vr_interrupt_wait(int file); /* until it can be read (true; also its end) or a signal comes (false) */
int vr_interrupt_count(void);     /* signals since the last clearing */
/* Until one of files [n], n <= 4, can be read: bit i of the result; -1: left out. 0: a signal came. */
unsigned vr_interrupt_poll(const int *files, int n);

#endif
