/*
 * clock.h - wall time for stage timings.
 */
#ifndef VR_CLOCK_H
#define VR_CLOCK_H

double vr_clock(void); /* seconds, monotonic, from an arbitrary start */

#endif
