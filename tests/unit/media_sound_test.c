/*
 * media_sound_test.c - soundtrack to clips: windows against the whole wave, silence, sounds that cannot be used.
 */
#include <math.h>
#include <unistd.h>

#include "media/mel.h"
#include "media/sound.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"

enum { CLIPS = 8, BINS = 128, FRAMES = 204, AREA = BINS * FRAMES };

static const vr_sound_config video_llama = { 16000, CLIPS, 2.0F, 8, BINS, FRAMES, -4.268F, 9.138F };

static bool hear(const char *name, const vr_sound_config *config, float *mel, vr_dump *dump, heard_log *heard)
{
    char path[TEMPORARY_PATH + 64];
    snprintf(path, sizeof path, FIXTURES "%s", name);
    *heard = (heard_log){ 0 };
    const vr_log log = { keep_line, heard };
    vr_source *source = open_clip(path, NULL);
    vr_err e = { 0 };
    bool usable = false;
    const int rc = vr_sound_read(source, config, mel, &usable, dump, &log, &e);
    ck_assert_msg(rc == VR_OK, "%s", e.text);
    vr_source_free(source);
    return usable;
}

/* Data of an .npy file behind its header; the caller frees *file. */
static const void *npy_data(const char *folder, const char *name, uint8_t **file, size_t *bytes)
{
    char path[TEMPORARY_PATH + 64];
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    size_t n;
    *file = read_file(path, &n);
    ck_assert_msg(*file && n > 10, "%s", path);
    const size_t head = 10 + (size_t)(*file)[8] + 256 * (size_t)(*file)[9];
    *bytes = n - head;
    remove(path);
    return *file + head;
}

/* The original's way: one buffer, the mean of each clip subtracted in place, clip by clip. */
static void whole_wave(float *mel, float *wave, const int32_t *starts, int channels, int64_t n)
{
    vr_mel *features = NULL;
    ck_assert_int_eq(vr_mel_open(&features, 16000, BINS, NULL), VR_OK);
    for (int i = 0; i < CLIPS; i++) {
        const int64_t last = starts[i] + 32000 < n ? starts[i] + 32000 : n;
        double sum = 0;
        for (int c = 0; c < channels; c++) {
            for (int64_t k = starts[i]; k < last; k++) sum += (double)wave[c * n + k];
        }
        const float mean = (float)(sum / ((double)(last - starts[i]) * channels));
        for (int c = 0; c < channels; c++) {
            for (int64_t k = starts[i]; k < last; k++) wave[c * n + k] -= mean;
        }
        vr_mel_run(features, mel + i * AREA, FRAMES, wave + starts[i], last - starts[i]);
        for (int k = 0; k < AREA; k++) mel[i * AREA + k] = (mel[i * AREA + k] + 4.268F) / 9.138F;
    }
    vr_mel_free(features);
}

static void compare_with_whole(const char *name, int divisor, int channels, int64_t n, int64_t second_start)
{
    static float windows[CLIPS * AREA], dumped[CLIPS * AREA], expected[CLIPS * AREA];
    vr_sound_config config = video_llama;
    config.clip_divisor = divisor;
    heard_log heard;
    ck_assert(hear(name, &config, windows, NULL, &heard) && heard.n_warnings == 0);
    char folder[TEMPORARY_PATH];
    ck_assert_ptr_nonnull(mkdtemp(temporary_name(folder, sizeof folder, "vidrun-test-XXXXXX")));
    vr_dump *dump = NULL;
    ck_assert_int_eq(vr_dump_open(&dump, folder, NULL), VR_OK);
    ck_assert(hear(name, &config, dumped, dump, &heard));
    ck_assert_int_eq(vr_dump_close(dump, NULL), VR_OK);
    ck_assert_mem_eq(windows, dumped, sizeof windows);
    uint8_t *wave_file, *starts_file;
    size_t wave_bytes, starts_bytes;
    const void *wave_data = npy_data(folder, "input.wave", &wave_file, &wave_bytes);
    const void *starts_data = npy_data(folder, "input.clip_starts", &starts_file, &starts_bytes);
    rmdir(folder);
    ck_assert_uint_eq(wave_bytes, (size_t)n * (size_t)channels * sizeof(float));
    ck_assert_uint_eq(starts_bytes, CLIPS * sizeof(int32_t));
    float *wave = malloc(wave_bytes);
    int32_t starts[CLIPS];
    ck_assert_ptr_nonnull(wave);
    memcpy(wave, wave_data, wave_bytes);
    memcpy(starts, starts_data, sizeof starts);
    ck_assert_int_eq(starts[0], 0);
    ck_assert_int_eq(starts[1], second_start);
    whole_wave(expected, wave, starts, channels, n);
    ck_assert_mem_eq(windows, expected, sizeof windows);
    free(wave);
    free(wave_file);
    free(starts_file);
}

START_TEST(windows_equal_the_whole_wave) /* overlapping clips of a stereo sound at 22050 Hz */
{
    compare_with_whole("count.mp4", 8, 2, 160497, 16062);
    compare_with_whole("count.mp4", 7, 2, 160497, 18356);
    compare_with_whole("silent.mkv", 8, 1, 48000, 2000);
}
END_TEST

START_TEST(a_tone) /* 440 Hz lies in the triangles around mel(440) = 549: the loudest bin of every frame */
{
    static float mel[CLIPS * AREA];
    heard_log heard;
    ck_assert(hear("count.mp4", &video_llama, mel, NULL, &heard));
    const double low = 1127 * log(1 + 20.0 / 700), step = (1127 * log(1 + 8000.0 / 700) - low) / (BINS + 1);
    const int nearest = (int)lround((1127 * log(1 + 440.0 / 700) - low) / step) - 1;
    for (int clip = 0; clip < CLIPS; clip++) {
        int loudest = 0;
        for (int b = 0; b < BINS; b++) {
            if (mel[clip * AREA + b * FRAMES + 100] > mel[clip * AREA + loudest * FRAMES + 100]) loudest = b;
        }
        ck_assert_msg(abs(loudest - nearest) <= 1, "clip %d: bin %d, not %d", clip, loudest, nearest);
    }
}
END_TEST

START_TEST(silence)
{
    static float mel[CLIPS * AREA];
    heard_log heard;
    ck_assert(hear("silent.mkv", &video_llama, mel, NULL, &heard));
    ck_assert_int_eq(heard.n_warnings, 0);
    for (int i = 0; i < CLIPS * AREA; i++) {
        const double expected = i % FRAMES < 198 ? -1.277565 : 0.467061;
        ck_assert_msg(fabs((double)mel[i] - expected) < 1e-6, "%d: %f", i, (double)mel[i]);
    }
}
END_TEST

static void expect_nothing(const char *name, const char *message)
{
    static float mel[CLIPS * AREA];
    heard_log heard;
    ck_assert(!hear(name, &video_llama, mel, NULL, &heard));
    ck_assert_int_eq(heard.n_warnings, 1);
    ck_assert_str_eq(heard.last, message);
}

START_TEST(unusable)
{
    expect_nothing("nosound.mp4", FIXTURES "nosound.mp4: has no sound");
    expect_nothing("short.mkv", FIXTURES "short.mkv: its sound is too short, 320 samples at 16000 Hz");
    expect_nothing("rate_change.ts",
                   FIXTURES "rate_change.ts: its sound changes from 24000 Hz, 1 channels to 16000 Hz, 1 channels");
}
END_TEST

START_TEST(broken_tail) /* what is there is heard */
{
    static float mel[CLIPS * AREA];
    heard_log heard;
    ck_assert(hear("cut.mkv", &video_llama, mel, NULL, &heard));
    for (int i = 0; i < CLIPS * AREA; i++) ck_assert(isfinite(mel[i]));
}
END_TEST

START_TEST(refusals)
{
    static float mel[AREA];
    vr_source *source = open_clip(FIXTURES "count.mp4", NULL);
    vr_sound_config config = video_llama;
    vr_err e = { 0 };
    bool heard = true;
    config.clip_divisor = 6; /* the last clip would begin after the end */
    ck_assert_int_eq(vr_sound_read(source, &config, mel, &heard, NULL, NULL, &e), VR_ERR_LIMIT);
    ck_assert(!heard);
    ck_assert_str_eq(e.text, "the settings of the sound clips are out of range");
    config = video_llama;
    config.n_clips = 0;
    ck_assert_int_eq(vr_sound_read(source, &config, mel, &heard, NULL, NULL, &e), VR_ERR_LIMIT);
    vr_source_free(source);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("sound");
    tcase_add_test(tests, windows_equal_the_whole_wave);
    tcase_add_test(tests, a_tone);
    tcase_add_test(tests, silence);
    tcase_add_test(tests, unusable);
    tcase_add_test(tests, broken_tail);
    tcase_add_test(tests, refusals);
    return suite_run_case("media_sound", tests);
}
