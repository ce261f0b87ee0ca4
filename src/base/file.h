/*
 * file.h - writing to a descriptor that may be a pipe or a terminal.
 */
#ifndef VR_FILE_H
#define VR_FILE_H

#include <stddef.h>

/* All n_bytes of bytes, whatever signals come meanwhile and however slow the reader is. 0, or the errno of what failed. */
int vr_write_whole(int file, const void *bytes, size_t n_bytes);

#endif
