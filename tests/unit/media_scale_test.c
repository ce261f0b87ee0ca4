/*
 * media_scale_test.c - pixels byte for byte as those of the ffmpeg program of the same installation, over pixel formats, colour
 * tags, sizes and turns.
 *
 *   ffmpeg: noise -> lossless clip in a temporary folder;  ffmpeg -vf scale=..:flags=bilinear -> rgb24  ==  ours
 *
 * Skipped, visibly, where there is no ffmpeg program.
 */
#include <unistd.h>

#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"

enum { N_FRAMES = 2 };

static char folder[TEMPORARY_PATH];

static bool have_ffmpeg(void)
{
    const bool found = system("ffmpeg -version > /dev/null 2>&1") == 0;
    if (!found) printf("SKIP: no ffmpeg program to compare with\n");
    return found;
}

/* Make clip.nut (or what `clip` says) in the folder: moving noise and edges. false: this ffmpeg cannot write the format. */
static bool make_clip(const char *source_size, const char *output)
{
    char command[2 * TEMPORARY_PATH];
    snprintf(command, sizeof command,
             "cd %s && ffmpeg -v quiet -y -f lavfi -i \"testsrc2=s=%s:r=5,noise=alls=40:allf=t:all_seed=3\" -frames:v %d %s",
             folder, source_size, N_FRAMES, output);
    return system(command) == 0;
}

typedef struct size {
    int width, height;
} size;

enum { N_SIZES = 3 };

/* Frames of the clip by the program, in N_SIZES files: one start of the program is dearer than all the pixels. */
static void program_frames(const char *clip, const char *turn, const size sizes[N_SIZES])
{
    char command[2 * TEMPORARY_PATH];
    int used =
        snprintf(command, sizeof command, "cd %s && ffmpeg -v quiet -y -noautorotate -sws_flags bilinear -i %s", folder, clip);
    for (int i = 0; i < N_SIZES; i++) {
        used += snprintf(command + used, sizeof command - (size_t)used,
                         " -vf \"%sscale=%d:%d:flags=bilinear\" -pix_fmt rgb24 -f rawvideo frames%d.rgb", turn, sizes[i].width,
                         sizes[i].height, i);
    }
    ck_assert_msg(system(command) == 0, "%s", command);
}

static void compare(const char *what, const char *clip, const char *turn, const size sizes[N_SIZES])
{
    char path[TEMPORARY_PATH + 64];
    program_frames(clip, turn, sizes);
    snprintf(path, sizeof path, "%s/%s", folder, clip);
    vr_source *source = open_clip(path, NULL);
    for (int i = 0; i < N_SIZES; i++) {
        const size_t bytes = (size_t)sizes[i].width * (size_t)sizes[i].height * 3 * N_FRAMES;
        size_t n;
        snprintf(path, sizeof path, "%s/frames%d.rgb", folder, i);
        uint8_t *expected = read_file(path, &n), *rgb = malloc(bytes);
        ck_assert_msg(expected && rgb && n == bytes, "%s: %zu bytes", what, n);
        const int64_t indices[N_FRAMES] = { 0, 1 };
        read_frames(source, rgb, indices, N_FRAMES, sizes[i].width, sizes[i].height, VR_RESIZE_SWS_BILINEAR, NULL);
        ck_assert_msg(memcmp(rgb, expected, bytes) == 0, "%s to %d x %d", what, sizes[i].width, sizes[i].height);
        free(rgb);
        free(expected);
    }
    vr_source_free(source);
}

static const size usual[N_SIZES] = { { 224, 224 }, { 56, 33 }, { 162, 90 } };

START_TEST(pixel_formats)
{
    static const char *const raw[] = { "yuv420p",  "yuv422p", "yuv444p", "yuv410p",  "yuv411p",     "yuv440p",    "yuyv422",
                                       "uyvy422",  "nv12",    "nv21",    "p010le",   "yuv420p10le", "yuva420p",   "gray",
                                       "gray10le", "monob",   "rgb24",   "bgr24",    "rgba",        "rgb565le",   "rgb48le",
                                       "gbrp",     "pal8",    "bgr0",    "gray16le", "yuv444p16le", "yuv422p10le" };
    if (!have_ffmpeg()) return;
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(folder, sizeof folder, "vidrun-test-XXXXXX")));
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++) {
        char output[128];
        snprintf(output, sizeof output, "-c:v rawvideo -pix_fmt %s clip.nut", raw[i]);
        if (!make_clip("162x90", output)) {
            printf("SKIP: this ffmpeg cannot write %s\n", raw[i]);
            continue;
        }
        compare(raw[i], "clip.nut", "", usual);
    }
    make_clip("162x90", "-c:v mjpeg -pix_fmt yuvj422p clip.avi");
    compare("full-range JPEG", "clip.avi", "", usual);
}
END_TEST

START_TEST(colour_tags)
{
    static const char *const tags[] = { "-colorspace bt709 -color_range tv",     "-colorspace bt709 -color_range pc",
                                        "-colorspace smpte170m -color_range tv", "-colorspace bt2020nc -color_range tv",
                                        "-colorspace smpte240m -color_range pc", "-color_range pc",
                                        "-colorspace fcc -color_range tv" };
    if (!have_ffmpeg()) return;
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(folder, sizeof folder, "vidrun-test-XXXXXX")));
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        char output[256];
        snprintf(output, sizeof output, "-c:v ffv1 -pix_fmt yuv420p %s clip.mkv", tags[i]);
        if (!make_clip("162x90", output)) {
            printf("SKIP: this ffmpeg has no FFV1\n");
            return;
        }
        compare(tags[i], "clip.mkv", "", usual);
    }
}
END_TEST

START_TEST(odd_sizes)
{
    static const char *const sizes[] = { "161x91", "33x7", "500x2", "2x300", "16x16" };
    if (!have_ffmpeg()) return;
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(folder, sizeof folder, "vidrun-test-XXXXXX")));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ck_assert(make_clip(sizes[i], "-c:v rawvideo -pix_fmt yuv420p clip.nut"));
        compare(sizes[i], "clip.nut", "", (const size[N_SIZES]){ { 224, 224 }, { 1, 1 }, { 337, 41 } });
    }
}
END_TEST

START_TEST(turns) /* the display matrix turns before the frame is scaled; the program is told to by a filter */
{
    static const struct {
        int tag; /* as ffmpeg 5.1 writes it: anticlockwise */
        const char *filter;
    } cases[] = { { 270, "transpose=1," }, { 180, "transpose=1,transpose=1," }, { 90, "transpose=2," } };
    static const char *const formats[] = { "yuv420p", "yuv444p", "rgb24" };
    if (!have_ffmpeg()) return;
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(folder, sizeof folder, "vidrun-test-XXXXXX")));
    for (size_t i = 0; i < 9; i++) {
        char output[256];
        const char *format = formats[i / 3];
        const bool rgb = strcmp(format, "rgb24") == 0;
        snprintf(output, sizeof output,
                 "-c:v %s -pix_fmt %s still.mov && ffmpeg -v quiet -y -i still.mov -c copy -metadata:s:v:0 rotate=%d clip.mov",
                 rgb ? "png" : "libx264", format, cases[i % 3].tag);
        if (!make_clip("162x90", output)) {
            printf("SKIP: this ffmpeg cannot write %s\n", output);
            continue;
        }
        char path[TEMPORARY_PATH + 64];
        snprintf(path, sizeof path, "%s/clip.mov", folder);
        vr_source *source = open_clip(path, NULL);
        vr_source_info info;
        vr_source_info_get(source, &info);
        vr_source_free(source);
        if (info.rotation != 360 - cases[i % 3].tag) {
            printf("SKIP: this ffmpeg writes no turn of %d\n", cases[i % 3].tag);
            continue;
        }
        compare(output, "clip.mov", cases[i % 3].filter, usual);
    }
}
END_TEST

static void clean(void)
{
    static const char *const names[] = { "clip.nut",  "clip.mkv",    "clip.avi",    "clip.mov",
                                         "still.mov", "frames0.rgb", "frames1.rgb", "frames2.rgb" };
    char path[TEMPORARY_PATH + 64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    rmdir(folder);
}

int main(void)
{
    TCase *tests = tcase_create("scale");
    tcase_add_checked_fixture(tests, NULL, clean);
    tcase_add_test(tests, pixel_formats);
    tcase_add_test(tests, colour_tags);
    tcase_add_test(tests, odd_sizes);
    tcase_add_test(tests, turns);
    return suite_run_case("media_scale", tests);
}
