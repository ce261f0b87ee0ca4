/*
 * temporary.h - where tests put files that live only for them: the folder of TMPDIR, else /tmp, which POSIX demands.
 */
#ifndef VR_TEMPORARY_H
#define VR_TEMPORARY_H

#include <stdio.h>
#include <stdlib.h>

enum { TEMPORARY_PATH = 512 };

/* path [size] = FOLDER/name, name ending in XXXXXX for mkstemp or mkdtemp; returns path. */
static inline char *temporary_name(char *path, size_t size, const char *name)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, size, "%s/%s", folder && *folder ? folder : "/tmp", name);
    return path;
}

#endif
