/*
 * media_source_test.c - what is known of a file after opening it, and what is refused with which message.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"

static void refuse(const char *path, const char *message)
{
    vr_err e = { 0 };
    vr_source *source = NULL;
    const int rc = vr_source_open(&source, path, NULL, &e);
    ck_assert_ptr_null(source);
    ck_assert_str_eq(e.text, message);
    ck_assert_int_eq(rc, VR_ERR_VIDEO);
    ck_assert_int_eq(vr_source_open(&source, path, NULL, NULL), VR_ERR_VIDEO);
}

START_TEST(refusals)
{
    refuse("tests/fixtures/media", "tests/fixtures/media: is a directory, not a video file");
    refuse(FIXTURES "none.mp4", FIXTURES "none.mp4: cannot be opened: No such file or directory");
    refuse("", ": cannot be opened: No such file or directory");
    refuse("/dev/null", "/dev/null: is empty");
    refuse("/dev/zero", "/dev/zero: is a device, not a video file");
    refuse(FIXTURES "text.mp4", FIXTURES "text.mp4: is no video, picture or sound file that is known here");
    refuse(FIXTURES "list.mp4", FIXTURES "list.mp4: files of the kind 'concat' are not accepted");
    refuse(FIXTURES "tone.wav", FIXTURES "tone.wav: has sound but no video");
    refuse(FIXTURES "cover.mp3", FIXTURES "cover.mp3: has sound but no video"); /* cover art is no video */
    refuse("https://example.com/clip.mp4", "https://example.com/clip.mp4: cannot be opened: No such file or directory");
    refuse("concat:" FIXTURES "count.mp4", "concat:" FIXTURES "count.mp4: cannot be opened: No such file or directory");
    refuse(FIXTURES "%d.png", FIXTURES "%d.png: cannot be opened: No such file or directory");
}
END_TEST

static void expect_info(const char *name, bool has_audio, int64_t n_frames, int rate_num, int rate_den, int width, int height,
                        int rotation)
{
    char path[256];
    snprintf(path, sizeof path, FIXTURES "%s", name);
    vr_source *source = open_clip(path, NULL);
    ck_assert_str_eq(vr_source_path(source), path);
    vr_source_info i;
    vr_source_info_get(source, &i);
    ck_assert_msg(i.has_video && i.has_audio == has_audio && !i.is_image, "%s", name);
    ck_assert_msg(i.n_frames == n_frames, "%s: %lld frames", name, (long long)i.n_frames);
    ck_assert_msg(i.rate_num == rate_num && i.rate_den == rate_den, "%s: %d/%d", name, i.rate_num, i.rate_den);
    ck_assert_msg(i.width == width && i.height == height && i.rotation == rotation, "%s: %d x %d, %d", name, i.width, i.height,
                  i.rotation);
    vr_source_free(source);
}

START_TEST(facts)
{
    expect_info("count.mp4", true, 100, 10, 1, 32, 32, 0);
    expect_info("count.mkv", true, 100, 10, 1, 32, 32, 0);
    expect_info("count.ts", false, 100, 10, 1, 32, 32, 0);
    expect_info("count.avi", false, 100, 10, 1, 32, 32, 0);
    expect_info("count.webm", false, 100, 10, 1, 32, 32, 0);
    expect_info("count.h264", false, 100, 10, 1, 32, 32, 0);
    expect_info("hidden.mp4", false, 100, 10, 1, 32, 32, 0);
    expect_info("vfr.mp4", false, 23, 230, 99, 32, 32, 0);
    expect_info("one.mp4", false, 1, 5, 1, 32, 32, 0);
    expect_info("turn0.mp4", false, 3, 5, 1, 64, 32, 0);
    expect_info("turn90.mp4", false, 3, 5, 1, 64, 32, 90);
    expect_info("turn180.mp4", false, 3, 5, 1, 64, 32, 180);
    expect_info("turn270.mp4", false, 3, 5, 1, 64, 32, 270);
}
END_TEST

START_TEST(sound_facts)
{
    vr_source *source = open_clip(FIXTURES "count.mp4", NULL);
    vr_source_info i;
    vr_source_info_get(source, &i);
    ck_assert_int_eq(i.sample_rate, 22050);
    ck_assert_int_eq(i.channels, 2);
    ck_assert_msg(i.seconds > 9.9 && i.seconds < 10.2, "%f", i.seconds);
    vr_source_free(source);
}
END_TEST

static void expect_warning(const char *name, const char *message)
{
    char path[256];
    snprintf(path, sizeof path, FIXTURES "%s", name);
    heard_log heard = { 0 };
    const vr_log log = { keep_line, &heard };
    vr_source_free(open_clip(path, &log));
    ck_assert_int_eq(heard.n_warnings, message ? 1 : 0);
    if (message) ck_assert_str_eq(heard.last, message);
}

START_TEST(warnings)
{
    expect_warning("count.mp4", NULL);
    expect_warning("count.mkv", NULL);
    expect_warning("count.ts", NULL);
    expect_warning("count.h264", NULL);
    expect_warning("one.mp4", NULL);
    expect_warning("rgb.png", NULL);
    expect_warning("cut.mp4", FIXTURES "cut.mp4: the last frame comes at 1.2 of 10.0 seconds; the file may be cut short");
    expect_warning("cut.mkv", FIXTURES "cut.mkv: the last frame comes at 2.1 of 10.0 seconds; the file may be cut short");
}
END_TEST

/* Run vr_source_open("-") with standard input replaced by fd; returns the number of frames, or the error code. */
static int64_t from_standard_input(int fd, vr_err *e)
{
    const int saved = dup(STDIN_FILENO);
    ck_assert(saved >= 0 && dup2(fd, STDIN_FILENO) >= 0);
    vr_source *source = NULL;
    int64_t n = vr_source_open(&source, "-", NULL, e);
    dup2(saved, STDIN_FILENO);
    close(saved);
    if (n != VR_OK) return n;
    vr_source_info i;
    vr_source_info_get(source, &i);
    const int64_t last = 99;
    uint8_t rgb[3];
    read_frames(source, rgb, &last, 1, 1, 1, VR_RESIZE_SWS_BILINEAR, NULL);
    ck_assert_str_eq(vr_source_path(source), "-");
    vr_source_free(source);
    ck_assert_msg(rgb[0] == 231, "frame 99 is grey of %d", rgb[0]);
    return i.n_frames;
}

START_TEST(standard_input)
{
    vr_err e = { 0 };
    int fd = open(FIXTURES "count.mp4", O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(from_standard_input(fd, &e), 100); /* a file as it is */
    close(fd);
    FILE *pipe = popen("cat " FIXTURES "count.mp4", "r");
    ck_assert_ptr_nonnull(pipe);
    ck_assert_int_eq(from_standard_input(fileno(pipe), &e), 100); /* a pipe is spooled */
    pclose(pipe);
    pipe = popen("true", "r");
    ck_assert_ptr_nonnull(pipe);
    ck_assert_int_eq(from_standard_input(fileno(pipe), &e), VR_ERR_VIDEO);
    ck_assert_str_eq(e.text, "standard input: is empty");
    pclose(pipe);
    setenv("TMPDIR", "/nonexistent", 1);
    pipe = popen("cat " FIXTURES "count.mp4", "r");
    ck_assert_ptr_nonnull(pipe);
    ck_assert_int_eq(from_standard_input(fileno(pipe), &e), VR_ERR_OTHER);
    ck_assert_str_eq(e.text, "standard input: cannot make a temporary file in /nonexistent: No such file or directory "
                             "(TMPDIR chooses the place)");
    pclose(pipe);
}
END_TEST

START_TEST(percent_in_a_name) /* read literally, not as a sequence of pictures */
{
    char folder[TEMPORARY_PATH], path[TEMPORARY_PATH + 64];
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(folder, sizeof folder, "vidrun-test-XXXXXX")));
    snprintf(path, sizeof path, "%s/a%%03d.png", folder);
    size_t n;
    uint8_t *bytes = read_file(FIXTURES "rgb.png", &n);
    FILE *copy = fopen(path, "wb");
    ck_assert(bytes && copy && fwrite(bytes, 1, n, copy) == n && fclose(copy) == 0);
    free(bytes);
    vr_source *source = open_clip(path, NULL);
    vr_source_info i;
    vr_source_info_get(source, &i);
    ck_assert(i.is_image && i.width == 9 && i.height == 5);
    vr_source_free(source);
    remove(path);
    rmdir(folder);
}
END_TEST

START_TEST(damaged_files) /* any prefix, and single wrong bytes: an error or frames, never a crash */
{
    static const char *const names[] = { "count.mp4", "cut.mkv", "count.webm", "rgba.png", "420.jpg", "bad_frame.avi" };
    char folder[TEMPORARY_PATH], path[TEMPORARY_PATH + 64];
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(folder, sizeof folder, "vidrun-test-XXXXXX")));
    snprintf(path, sizeof path, "%s/damaged", folder);
    srand(11);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char from[256];
        snprintf(from, sizeof from, FIXTURES "%s", names[k]);
        size_t n;
        uint8_t *bytes = read_file(from, &n);
        ck_assert_ptr_nonnull(bytes);
        for (int round = 0; round < 40; round++) {
            const size_t at = (size_t)rand() % n, length = round % 2 ? n : at;
            const uint8_t kept = bytes[at];
            bytes[at] = (uint8_t)rand();
            FILE *copy = fopen(path, "wb");
            ck_assert(copy && fwrite(bytes, 1, length, copy) == length && fclose(copy) == 0);
            bytes[at] = kept;
            vr_source *source = NULL;
            vr_frames *frames = NULL;
            vr_err e = { 0 };
            uint8_t rgb[8 * 8 * 3];
            int index = 0;
            const int64_t first = 0;
            if (vr_source_open(&source, path, NULL, &e) == VR_OK &&
                vr_frames_open(&frames, source, &first, 1, 8, 8, VR_RESIZE_PIL_BICUBIC, NULL, &e) == VR_OK) {
                const int rc = vr_frames_next(frames, rgb, &index, &e);
                ck_assert(rc == VR_OK || e.text[0]);
            } else {
                ck_assert(e.text[0] && e.code < 0);
            }
            vr_frames_free(frames);
            vr_source_free(source);
        }
        free(bytes);
    }
    remove(path);
    rmdir(folder);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("source");
    tcase_add_test(tests, refusals);
    tcase_add_test(tests, facts);
    tcase_add_test(tests, sound_facts);
    tcase_add_test(tests, warnings);
    tcase_add_test(tests, standard_input);
    tcase_add_test(tests, percent_in_a_name);
    tcase_add_test(tests, damaged_files);
    return suite_run_case("media_source", tests);
}
