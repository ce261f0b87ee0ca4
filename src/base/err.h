/*
 * err.h - errors are values: 0 or a negative code, with one line of text for the user.
 *
 * The code doubles as the exit status of the program (negated), so a function that fails chooses the class
 * where the cause is known; main.c only prints and returns.
 */
#ifndef VR_ERR_H
#define VR_ERR_H

enum {
    VR_OK = 0,
    VR_ERR_OTHER = -1,   /* anything else: output cannot be written, no memory for a small thing */
    VR_ERR_USAGE = -2,   /* options or arguments */
    VR_ERR_WEIGHTS = -3, /* weight file unreadable or invalid */
    VR_ERR_VIDEO = -4,   /* video unreadable or without frames */
    VR_ERR_LIMIT = -5,   /* a limit, the context or memory would be exceeded */
    VR_ERR_CANCEL = -6   /* the caller asked to stop; never an exit status */
};

typedef struct vr_err {
    int code;
    char text[1024]; /* names the file, tensor or option, and the cause; no newline at the end */
} vr_err;

#if defined(__GNUC__)
#define VR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define VR_PRINTF(fmt, args)
#endif

/* Fill e (may be NULL) and return code, so that `return vr_fail(e, ...)` is one statement. */
int vr_fail(vr_err *e, int code, const char *format, ...) VR_PRINTF(3, 4);

/* Forward an error. */
#define VR_TRY(call)                                                                                                           \
    do {                                                                                                                       \
        const int vr_try_code = (call);                                                                                        \
        if (vr_try_code != VR_OK) return vr_try_code;                                                                          \
    } while (0)

#endif
