/*
 * media_golden_test.c - the original's own reading of real clips (decord, Pillow, torchaudio): $VIDRUN_SHARED/golden.
 *
 * Skipped, visibly, where that folder is missing.
 */
#include <math.h>

#include "media/clip_pixels.h"
#include "media/sound.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"

enum { SIZE = 224, CLIPS = 8, AREA = 128 * 204 };

/* An array of an .npy file; data is NULL where there is no such file. */
typedef struct array {
    uint8_t *file;
    const uint8_t *data;
    size_t n_bytes;
} array;

static array load(const char *format, const char *name)
{
    char path[512], local[256];
    snprintf(local, sizeof local, "%s", format);
    char *star = strchr(local, '*');
    ck_assert_ptr_nonnull(star);
    *star = 0;
    snprintf(path, sizeof path, "%s/golden/%s%s%s", shared_folder(), local, name, star + 1);
    array a = { 0 };
    size_t n;
    a.file = read_file(path, &n);
    if (!a.file) return a;
    ck_assert_msg(n > 10 && memcmp(a.file, "\x93NUMPY\x01", 7) == 0, "%s", path);
    const size_t head = 10 + (size_t)a.file[8] + 256 * (size_t)a.file[9];
    a.data = a.file + head;
    a.n_bytes = n - head;
    return a;
}

static bool have_golden(const char *case_name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/golden/%s/case.json", shared_folder(), case_name);
    FILE *file = fopen(path, "rb");
    if (file) fclose(file);
    if (!file) printf("SKIP: %s is not there (VIDRUN_SHARED)\n", path);
    return file != NULL;
}

static vr_source *open_media(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/media/%s.mp4", shared_folder(), name);
    return open_clip(path, NULL);
}

/* The sentence that case.json records for a clip. */
static void recorded_sentence(char *out, size_t room, const char *clip)
{
    char path[512], key[128];
    snprintf(path, sizeof path, "%s/golden/video-llama-preprocess/case.json", shared_folder());
    snprintf(key, sizeof key, "\"media/%s.mp4\"", clip);
    size_t n;
    char *json = (char *)read_file(path, &n);
    ck_assert_ptr_nonnull(json);
    json[n - 1] = 0;
    const char *at = strstr(json, key);
    ck_assert_ptr_nonnull(at);
    at = strstr(at, "\"sentence\": \"");
    ck_assert_ptr_nonnull(at);
    at += strlen("\"sentence\": \"");
    const size_t length = strcspn(at, "\"");
    ck_assert_uint_lt(length, room);
    memcpy(out, at, length);
    out[length] = 0;
    free(json);
}

static void check_sentence(const char *clip, const int64_t *indices, int n, const vr_source_info *info)
{
    char expected[512], got[512];
    recorded_sentence(expected, sizeof expected, clip);
    int used = snprintf(got, sizeof got, "The video contains %d frames sampled at ", n);
    for (int i = 0; i < n; i++) {
        const double second = (double)indices[i] / ((double)info->rate_num / info->rate_den);
        used += snprintf(got + used, sizeof got - (size_t)used, "%s%.1f", i ? ", " : "", second);
    }
    snprintf(got + used, sizeof got - (size_t)used, " seconds. ");
    ck_assert_str_eq(got, expected);
}

static void check_mel(vr_source *source, const char *clip)
{
    static float mel[CLIPS * AREA];
    const vr_sound_config config = { 16000, CLIPS, 2.0F, 8, 128, 204, -4.268F, 9.138F };
    bool heard = false;
    vr_err e = { 0 };
    const array expected = load("video-llama-preprocess/stages/*.input.mel.npy", clip);
    ck_assert_msg(vr_sound_read(source, &config, mel, &heard, NULL, NULL, &e) == VR_OK, "%s", e.text);
    ck_assert(heard == (expected.data != NULL));
    if (!heard) return;
    ck_assert_uint_eq(expected.n_bytes, 2 * AREA * sizeof(float)); /* clips 0 and 7 */
    const float *golden = (const float *)(const void *)expected.data;
    double distance = 0, length = 0;
    for (int i = 0; i < 2 * AREA; i++) {
        const double got = (double)mel[i < AREA ? i : (CLIPS - 2) * AREA + i], wanted = (double)golden[i];
        distance += (got - wanted) * (got - wanted);
        length += wanted * wanted;
    }
    printf("%s: mel off by %.1e\n", clip, sqrt(distance / length));
    ck_assert_msg(sqrt(distance / length) < 1e-5, "%s: %g", clip, sqrt(distance / length)); /* the case allows 1e-4 */
    free(expected.file);
}

START_TEST(video_llama)
{
    static const char *const clips[] = { "dog_barking", "longvu_video1", "skateboarding_dog", "jesse_dance" };
    static uint8_t rgb[CLIPS][SIZE * SIZE * 3];
    if (!have_golden("video-llama-preprocess")) return;
    for (size_t k = 0; k < sizeof clips / sizeof *clips; k++) {
        vr_source *source = open_media(clips[k]);
        vr_source_info info;
        vr_source_info_get(source, &info);
        int64_t indices[CLIPS];
        const int n = vr_frames_uniform(indices, info.n_frames, CLIPS);
        ck_assert_int_eq(n, CLIPS);
        const array recorded = load("video-llama-preprocess/stages/*.input.frame_indices.npy", clips[k]);
        ck_assert_uint_eq(recorded.n_bytes, CLIPS * sizeof(int32_t));
        for (int i = 0; i < n; i++) ck_assert_int_eq(indices[i], ((const int32_t *)(const void *)recorded.data)[i]);
        check_sentence(clips[k], indices, n, &info);
        read_frames(source, rgb[0], indices, n, SIZE, SIZE, VR_RESIZE_SWS_BILINEAR, NULL);
        const array frames = load("video-llama-preprocess/stages/*.input.frames.npy", clips[k]);
        ck_assert_uint_eq(frames.n_bytes, 2 * sizeof rgb[0]); /* the first and the last */
        ck_assert_msg(memcmp(rgb[0], frames.data, sizeof rgb[0]) == 0, "%s: first frame", clips[k]);
        ck_assert_msg(memcmp(rgb[7], frames.data + sizeof rgb[0], sizeof rgb[0]) == 0, "%s: last frame", clips[k]);
        check_mel(source, clips[k]);
        vr_source_free(source);
        free(recorded.file);
        free(frames.file);
    }
}
END_TEST

START_TEST(pictures_by_pillow) /* VideoChat's picture upload is Video-LLaMA's: convert('RGB'), bicubic to 224 x 224 */
{
    static const char *const names[] = { "100x80", "123x457", "270x480", "300x224", "480x270" };
    static uint8_t rgb[SIZE * SIZE * 3];
    if (!have_golden("videochat-preprocess")) return;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[512];
        snprintf(path, sizeof path, "%s/golden/videochat-preprocess/images/%s.png", shared_folder(), names[k]);
        vr_source *source = open_clip(path, NULL);
        const int64_t first = 0;
        read_frames(source, rgb, &first, 1, SIZE, SIZE, VR_RESIZE_PIL_BICUBIC, NULL);
        const array expected = load("videochat-preprocess/stages/*.image.u8.npy", names[k]);
        ck_assert_uint_eq(expected.n_bytes, sizeof rgb);
        ck_assert_msg(memcmp(rgb, expected.data, sizeof rgb) == 0, "%s", names[k]);
        vr_source_free(source);
        free(expected.file);
    }
}
END_TEST

START_TEST(whole_frames) /* decoded frames at their own size, recorded with decord for VideoLLaMB */
{
    static const struct {
        const char *clip;
        int width, height;
        int64_t index;
    } clips[] = { { "skateboarding_dog", 576, 1024, 300 }, { "dance", 640, 480, 426 } };
    if (!have_golden("videollamb-preprocess")) return;
    for (size_t k = 0; k < sizeof clips / sizeof *clips; k++) {
        const size_t area = (size_t)clips[k].width * (size_t)clips[k].height * 3;
        const array expected = load("videollamb-preprocess/stages/*.input.rgb.npy", clips[k].clip);
        ck_assert_uint_eq(expected.n_bytes, area);
        vr_source *source = open_media(clips[k].clip);
        uint8_t *rgb = malloc(area);
        ck_assert_ptr_nonnull(rgb);
        read_frames(source, rgb, &clips[k].index, 1, clips[k].width, clips[k].height, VR_RESIZE_SWS_BILINEAR, NULL);
        ck_assert_msg(memcmp(rgb, expected.data, area) == 0, "%s", clips[k].clip);
        vr_source_free(source);
        free(rgb);
        free(expected.file);
    }
}
END_TEST

START_TEST(clip_crops) /* CLIPImageProcessor of Flash-VStream, of decord's frames */
{
    static const struct {
        const char *clip;
        int width, height;
        int64_t index;
    } clips[] = { { "dance", 640, 480, 300 }, { "dog_barking", 854, 480, 96 }, { "skateboarding_dog", 576, 1024, 210 } };
    static uint8_t crop[SIZE * SIZE * 3];
    if (!have_golden("flash-vstream-preprocess")) return;
    for (size_t k = 0; k < sizeof clips / sizeof *clips; k++) {
        const int width = clips[k].width, height = clips[k].height;
        const array expected = load("flash-vstream-preprocess/stages/*.input.pixels.u8.npy", clips[k].clip);
        ck_assert_uint_eq(expected.n_bytes, 2 * sizeof crop); /* frame 0 and this one */
        vr_source *source = open_media(clips[k].clip);
        uint8_t *rgb = malloc((size_t)width * (size_t)height * 3);
        vr_err e = { 0 };
        ck_assert_ptr_nonnull(rgb);
        read_frames(source, rgb, &clips[k].index, 1, width, height, VR_RESIZE_PIL_BICUBIC, NULL);
        ck_assert_int_eq(vr_clip_pixels_crop(crop, SIZE, rgb, width, height, &e), VR_OK);
        ck_assert_msg(memcmp(crop, expected.data + sizeof crop, sizeof crop) == 0, "%s", clips[k].clip);
        vr_source_free(source);
        free(rgb);
        free(expected.file);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("golden");
    tcase_add_test(tests, clip_crops);
    tcase_add_test(tests, video_llama);
    tcase_add_test(tests, pictures_by_pillow);
    tcase_add_test(tests, whole_frames);
    return suite_run_case("media_golden", tests);
}
