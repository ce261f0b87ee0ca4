/*
 * npy_support.h - recorded tensors: NumPy files of numbers of 4 bytes.
 */
#ifndef VR_NPY_SUPPORT_H
#define VR_NPY_SUPPORT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Data of FOLDER/NAME.npy, 4 bytes a number, to be freed; NULL: no such file. */
static inline void *npy_load(const char *folder, const char *name, size_t *n)
{
    char path[512];
    unsigned char head[10];
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    ck_assert_msg(fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, "\x93NUMPY\x01", 7) == 0, "%s", path);
    const long start = 10 + head[8] + 256L * head[9];
    ck_assert(fseek(f, 0, SEEK_END) == 0);
    *n = (size_t)(ftell(f) - start) / 4;
    void *x = malloc(*n * 4 + 1);
    ck_assert(x && fseek(f, start, SEEK_SET) == 0 && fread(x, 4, *n, f) == *n);
    fclose(f);
    return x;
}

#endif
