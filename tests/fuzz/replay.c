/*
 * replay.c - feed every file of a corpus folder to a fuzz target, in the order of their names.
 *
 *   NAME_replay FOLDER -> for each file: bytes in a block of exactly their size -> LLVMFuzzerTestOneInput
 *
 * Needs no clang and no libFuzzer, so that old findings stay fixed in every build. An empty folder is a mistake and fails.
 * Usage: NAME_replay FOLDER; a FOLDER may be a single file, to look into one finding.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

static bool run_file(const char *path)
{
    bool good = false;
    uint8_t *data = NULL;
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) != 0) goto done;
    data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
    if (!data || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size) goto done;
    LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
    good = true;
done:
    if (!good) fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
    free(data);
    if (f) fclose(f);
    return good;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int run_folder(const char *folder)
{
    struct dirent **entries = NULL;
    const int n = scandir(folder, &entries, visible, alphasort);
    if (n < 0) {
        fprintf(stderr, "%s: cannot be read: %s\n", folder, strerror(errno));
        return 1;
    }
    int failed = n == 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (!run_file(path)) failed = 1;
        free(entries[i]);
    }
    free(entries);
    printf("%s: %d inputs replayed\n", folder, n);
    return failed;
}

int main(int argc, char **argv)
{
    struct stat st;
    if (argc != 2 || stat(argv[1], &st) != 0) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    return S_ISDIR(st.st_mode) ? run_folder(argv[1]) : !run_file(argv[1]);
}
