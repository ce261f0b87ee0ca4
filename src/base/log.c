/*
 * log.c - see log.h.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void vr_log_print(const vr_log *log, vr_log_level level, const char *format, ...)
{
    if (!log || !log->write) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log->write(log->cookie, level, text);
}
