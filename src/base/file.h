/*
 * file.h - writing: to a descriptor that may be a pipe or a terminal, and whether a file can be written.
 */
#ifndef VR_FILE_H
#define VR_FILE_H

#include <stddef.h>

#include "base/err.h"

/* All n_bytes of bytes, whatever signals come meanwhile and however slow the reader is. 0, or the errno of what failed. */
int vr_write_whole(int file, const void *bytes, size_t n_bytes);

/* Whether the file can be written; it is left as it is, and not there where it was not. VR_ERR_OTHER with its name. */
int vr_file_check(const char *path, vr_err *e);

#endif
