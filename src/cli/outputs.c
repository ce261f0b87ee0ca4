/*
 * outputs.c - see outputs.h.
 *
 *   --picture, --srt, --vtt: the file of an operand or of another option? -> can it be written?
 *
 * Trap: a file has many names; two are one where device and number agree. Of devices and pipes (/dev/null) that is no harm.
 */
#include "cli/outputs.h"

#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "media/png.h"

typedef struct named {
    const char *noun, *path; /* path NULL: not given */
} named;

static bool is_one_file(const char *a, const char *b)
{
    struct stat of_a, of_b;
    if (stat(a, &of_a) != 0) return strcmp(a, b) == 0;
    return S_ISREG(of_a.st_mode) && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

int vr_outputs_check(const vr_options *o, vr_err *e)
{
    enum { N_WRITTEN = 3 };
    const named all[] = {
        { "option --picture", o->picture }, { "option --srt", o->srt },      { "option --vtt", o->vtt },
        { "WEIGHTS", o->weights },          { "VIDEO", o->video },           { "option --prompt-file", o->prompt_file },
        { "option --ask", o->ask_file },    { "option --speech", o->speech }
    };
    for (size_t i = 0; i < N_WRITTEN; i++) {
        const char *const path = all[i].path;
        for (size_t k = i + 1; path && k < sizeof all / sizeof *all; k++)
            if (all[k].path && is_one_file(path, all[k].path))
                return vr_fail(e, VR_ERR_USAGE, "%s: '%.400s' is the file of %s, too", all[i].noun, path, all[k].noun);
    }
    if (o->picture) VR_TRY(vr_png_check(o->picture, e));
    if (o->srt) VR_TRY(vr_file_check(o->srt, e));
    return o->vtt ? vr_file_check(o->vtt, e) : VR_OK;
}
