/*
 * log.h - one callback with levels and a cookie; no globals. The engine never prints by itself.
 */
#ifndef VR_LOG_H
#define VR_LOG_H

#include "base/err.h"

typedef enum vr_log_level { VR_LOG_WARN = 0, VR_LOG_INFO = 1, VR_LOG_DEBUG = 2 } vr_log_level;

typedef struct vr_log {
    void (*write)(void *cookie, vr_log_level level, const char *text); /* one line, no newline; NULL: silent */
    void *cookie;
} vr_log;

/* log may be NULL. */
void vr_log_print(const vr_log *log, vr_log_level level, const char *format, ...) VR_PRINTF(3, 4);

#endif
