/*
 * speech_test.c - what Whisper hears and may say: spectrum against its formula, windows of a file, sound of any rate and number
 * of channels, rules of times, segments.
 *
 *   made WAV files -> wave.h, listen.h      logits and ids by hand -> rules.h      the network: tests/parity/whisper_test.py
 */
#include <math.h>
#include <time.h>
#include <unistd.h>

#include "speech/listen.h"
#include "speech/log_mel.h"
#include "speech/rules.h"
#include "speech/wave.h"
#include "tests/unit/media_support.h"
#include "tests/unit/suite.h"
#include "tests/unit/temporary.h"

static const double PI = 3.14159265358979323846;
static uint64_t random_state = 1;

static float noise(void)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return (float)(random_state >> 40) / (float)(1 << 23) - 1.0F;
}

/* ---- files ---- */

static char path[TEMPORARY_PATH];

static void put(FILE *file, uint32_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++) fputc((int)(value >> (8 * i) & 255), file);
}

/* value(frame, channel) -> float WAV at `path` */
static void write_wav(int rate, int channels, int frames, float (*value)(int frame, int channel))
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    const uint32_t n_bytes = (uint32_t)(frames * channels) * 4;
    fputs("RIFF", file), put(file, 36 + n_bytes, 4), fputs("WAVEfmt ", file), put(file, 16, 4), put(file, 3, 2);
    put(file, (uint32_t)channels, 2), put(file, (uint32_t)rate, 4), put(file, (uint32_t)(rate * channels * 4), 4);
    put(file, (uint32_t)channels * 4, 2), put(file, 32, 2), fputs("data", file), put(file, n_bytes, 4);
    for (int f = 0; f < frames; f++)
        for (int c = 0; c < channels; c++) {
            const float v = value(f, c);
            fwrite(&v, sizeof v, 1, file);
        }
    ck_assert_int_eq(fclose(file), 0);
}

static float some_noise(int frame, int channel)
{
    (void)frame, (void)channel;
    return 0.3F * noise();
}

static int wav_rate;

/* A tone of 440 Hz; channels are it times 1, -1, 3: together the same as one where there are three. */
static float tone(int frame, int channel)
{
    static const float share[3] = { 1, -1, 3 };
    return share[channel % 3] * (float)(0.2 * sin(2 * PI * 440 * frame / wav_rate));
}

static float silence(int frame, int channel)
{
    (void)frame, (void)channel;
    return 0;
}

/* ---- spectrum ---- */

static double mel_of(double hz)
{
    return hz < 1000 ? hz / (200.0 / 3) : 15 + log(hz / 1000) / (log(6.4) / 27);
}

static double hz_of(double mel)
{
    return mel < 15 ? mel * 200.0 / 3 : 1000 * exp(log(6.4) / 27 * (mel - 15));
}

static void direct(double *out, int bins, const float *w)
{
    double power[201];
    for (int k = 0; k < 201; k++) {
        double re = 0, im = 0;
        for (int j = 0; j < 400; j++) {
            const double x = (double)w[j] * 0.5 * (1 - cos(2 * PI * j / 400));
            re += x * cos(2 * PI * (j * k % 400) / 400), im += x * sin(2 * PI * (j * k % 400) / 400);
        }
        power[k] = re * re + im * im;
    }
    for (int b = 0; b < bins; b++) {
        const double top = mel_of(8000), l = hz_of(top * b / (bins + 1)), c = hz_of(top * (b + 1) / (bins + 1)),
                     r = hz_of(top * (b + 2) / (bins + 1));
        double energy = 0;
        for (int k = 0; k < 201; k++) {
            const double up = (40.0 * k - l) / (c - l), down = (r - 40.0 * k) / (r - c), least = up < down ? up : down;
            if (least > 0) energy += least * 2 / (r - l) * power[k];
        }
        out[b] = log10(energy > 1e-10 ? energy : 1e-10);
    }
}

START_TEST(spectrum_is_its_formula)
{
    static const int sizes[] = { 80, 128 };
    vr_err e = { 0 };
    for (int s = 0; s < 2; s++) {
        vr_log_mel *mel;
        float wave[400], out[128];
        double expected[128];
        ck_assert_int_eq(vr_log_mel_open(&mel, sizes[s], &e), VR_OK);
        for (int round = 0; round < 4; round++) {
            for (int j = 0; j < 400; j++) wave[j] = round == 3 ? 0 : noise() * (round == 1 ? 1e-4F : 1);
            vr_log_mel_frame(mel, wave, out);
            direct(expected, sizes[s], wave);
            for (int b = 0; b < sizes[s]; b++) ck_assert_double_eq_tol((double)out[b], expected[b], 2e-6);
        }
        vr_log_mel_free(mel);
    }
    vr_log_mel *mel;
    ck_assert_int_eq(vr_log_mel_open(&mel, 0, &e), VR_ERR_LIMIT);
}
END_TEST

/* ---- sound ---- */

/* Samples of the file at `path` -> out; how many */
static int read_all(float *out, int n_most, int step)
{
    vr_err e = { 0 };
    vr_input input;
    vr_wave *wave;
    int total = 0, n;
    ck_assert_int_eq(vr_input_open(&input, path, &e), VR_OK);
    ck_assert_msg(vr_wave_open(&wave, &input, &e) == VR_OK, "%s", e.text);
    do {
        const int most = n_most - total < step ? n_most - total : step;
        ck_assert_msg(vr_wave_read(wave, out + total, most, &n, &e) == VR_OK, "%s", e.text);
        total += n;
    } while (n > 0 && total < n_most);
    ck_assert_int_eq((int)vr_wave_bad(wave), 0);
    ck_assert_ptr_null(vr_wave_cause(wave));
    vr_wave_free(wave);
    vr_input_close(&input);
    return total;
}

START_TEST(every_rate_and_number_of_channels)
{
    static const struct {
        int rate, channels, frames, expected;
    } files[] = { { 16000, 1, 40000, 40000 }, { 16000, 3, 8001, 8001 }, { 44100, 3, 44100, 16000 }, { 96000, 9, 48000, 8000 },
                  { 8000, 1, 8000, 16000 },   { 48000, 3, 1, 1 },       { 11025, 1, 30001, 43539 } };
    static float out[60000], again[60000];
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        wav_rate = files[i].rate;
        write_wav(files[i].rate, files[i].channels, files[i].frames, tone);
        const int n = read_all(out, 60000, 60000);
        ck_assert_int_eq(n, files[i].expected);
        ck_assert_int_eq(read_all(again, 60000, 777), n); /* pieces make no difference */
        ck_assert_mem_eq(out, again, (size_t)n * sizeof *out);
        for (int t = 100; t < n - 100; t++) /* away from the ends, where the filter reaches outside */
            ck_assert_double_eq_tol((double)out[t], 0.2 * sin(2 * PI * 440 * t / 16000), 2e-3);
    }
}
END_TEST

/* ---- windows ---- */

static vr_listen *listen_open(vr_input *input, int window)
{
    vr_err e = { 0 };
    vr_listen *listen;
    ck_assert_int_eq(vr_input_open(input, path, &e), VR_OK);
    ck_assert_msg(vr_listen_open(&listen, input, &(vr_listen_config){ .bins = 80, .window = window }, &e) == VR_OK, "%s",
                  e.text);
    return listen;
}

START_TEST(windows_follow_the_sound)
{
    enum { FRAMES = 437, WINDOW = 100, BINS = 80 };
    static float all[600 * BINS], part[WINDOW * BINS];
    vr_err e = { 0 };
    vr_input input, second;
    write_wav(16000, 1, FRAMES * 160 + 77, some_noise);
    vr_listen *whole = listen_open(&input, 600), *windows = listen_open(&second, WINDOW);
    ck_assert_int_eq((int)vr_listen_frames(whole), FRAMES);
    ck_assert_double_eq_tol(vr_listen_seconds(whole), (FRAMES * 160 + 77) / 16000.0, 1e-9);
    ck_assert_int_eq(vr_listen_window(whole, 0, 600, all, &e), VR_OK);
    float loudest = -INFINITY, quietest = INFINITY;
    for (int i = 0; i < 600 * BINS; i++) loudest = fmaxf(loudest, all[i]), quietest = fminf(quietest, all[i]);
    ck_assert_double_eq_tol((double)quietest, (double)loudest - 2,
                            1e-6); /* silence is 8 below the loudest, a quarter of that */
    static const int firsts[] = { 0, 0, 2, 101, 150, 250, 400 };
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        const int first = firsts[i], n = FRAMES - first < WINDOW ? FRAMES - first : WINDOW;
        ck_assert_int_eq(vr_listen_window(windows, first, n, part, &e), VR_OK);
        ck_assert_mem_eq(part, all + first * BINS, (size_t)(n * BINS) * sizeof *part);
        for (int k = n * BINS; k < WINDOW * BINS; k++) ck_assert(part[k] == 0);
    }
    vr_listen_free(whole), vr_listen_free(windows);
    vr_input_close(&input), vr_input_close(&second);
}
END_TEST

static bool always(void *cookie)
{
    (void)cookie;
    return true;
}

START_TEST(short_and_silent_sounds)
{
    static const int samples[] = { 1, 100, 159, 160, 3200 };
    static float mel[100 * 80];
    vr_err e = { 0 };
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        vr_input input;
        write_wav(16000, 1, samples[i], silence);
        vr_listen *listen = listen_open(&input, 100);
        ck_assert_int_eq((int)vr_listen_frames(listen), samples[i] / 160);
        ck_assert_int_eq(vr_listen_window(listen, 0, 100, mel, &e), VR_OK);
        for (int k = 0; k < 100 * 80; k++) ck_assert(mel[k] == -1.5F); /* (-10 + 4)/4 */
        vr_listen_free(listen);
        vr_input_close(&input);
    }
    write_wav(16000, 1, 0, silence);
    vr_input input;
    vr_listen *listen;
    ck_assert_int_eq(vr_input_open(&input, path, &e), VR_OK);
    ck_assert_int_eq(vr_listen_open(&listen, &input, &(vr_listen_config){ .bins = 80, .window = 100 }, &e), VR_ERR_VIDEO);
    ck_assert_ptr_null(listen);
    vr_input_close(&input);
    write_wav(16000, 1, 16000, silence);
    ck_assert_int_eq(vr_input_open(&input, path, &e), VR_OK);
    const vr_listen_config stopped = { .bins = 80, .window = 100, .cancelled = always };
    ck_assert_int_eq(vr_listen_open(&listen, &input, &stopped, &e), VR_ERR_CANCEL);
    vr_input_close(&input);
}
END_TEST

/* ---- rules: 10 words (0 the blank), end 10, start 11, language 12, no_times 13, times 14..113 ---- */

enum { END = 10, NO_TIMES = 13, TIMES = 14, VOCAB = 114 };

static int32_t never_list[] = { 7, 11 }, first_list[] = { 0, END };
static const vr_speech_tokens tokens = { .vocab = VOCAB,
                                         .start = 11,
                                         .end = END,
                                         .no_times = NO_TIMES,
                                         .times = TIMES,
                                         .never = { never_list, 2, 2 },
                                         .never_first = { first_list, 2, 2 } };

static int32_t time_of(int n)
{
    return TIMES + n;
}

/* What is allowed after said [n], where all logits are equal but the words' are `words` higher */
static void allowed(const int32_t *said, int n, float words, bool *out)
{
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++) logits[i] = i < TIMES ? words : 0;
    vr_rules_apply(&tokens, logits, said, n);
    for (int i = 0; i < VOCAB; i++) out[i] = logits[i] > -INFINITY;
}

/* ids first to last, but those that are never allowed */
static void expect(const int32_t *said, int n, float words, int first, int last)
{
    bool may[VOCAB];
    allowed(said, n, words, may);
    for (int i = 0; i < VOCAB; i++) {
        const bool right = i >= first && i <= last && i != 7 && i != 11 && i != NO_TIMES;
        ck_assert_msg(may[i] == right, "after %d ids, words %g: id %d is %s", n, (double)words, i, may[i] ? "allowed" : "not");
    }
}

START_TEST(times_come_in_pairs)
{
    const float sure = 10;                                             /* above log 100: words may win */
    expect(NULL, 0, sure, TIMES, time_of(50));                         /* first a time, of the first second */
    expect((int32_t[]){ time_of(3) }, 1, sure, 0, TIMES - 1);          /* behind a start: words or the end */
    expect((int32_t[]){ time_of(3), 5 }, 2, 0, time_of(4), VOCAB - 1); /* times together win: later ones */
    bool may[VOCAB];
    allowed((int32_t[]){ time_of(3), 5 }, 2, sure, may); /* a word wins: all may, but earlier times */
    ck_assert(may[0] && may[END] && may[time_of(4)] && !may[time_of(3)] && !may[TIMES]);
    allowed((int32_t[]){ time_of(3), 5, time_of(9) }, 3, sure,
            may); /* an end of a segment: its time again, later, or the end */
    ck_assert(!may[0] && !may[9] && may[END] && may[time_of(9)] && may[time_of(10)] && !may[time_of(8)]);
    expect((int32_t[]){ time_of(3), 5, time_of(9), time_of(9) }, 4, sure, 0, TIMES - 1);
    allowed((int32_t[]){ time_of(3), 5, time_of(9), time_of(9), 4 }, 5, sure, may);
    ck_assert(may[1] && !may[time_of(9)] && may[time_of(10)]);
}
END_TEST

START_TEST(numbers_that_are_none_stay_harmless)
{
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++) logits[i] = NAN;
    vr_rules_apply(&tokens, logits, NULL, 0);
    for (int i = 0; i < VOCAB; i++) logits[i] = -INFINITY;
    vr_rules_apply(&tokens, logits, (int32_t[]){ time_of(99), 1 }, 2); /* no later time is left */
}
END_TEST

static void cuts(const int32_t *ids, int n, int count, const vr_speech_piece *expected, int go_on)
{
    vr_speech_piece pieces[32];
    int further;
    ck_assert_int_eq(vr_rules_cut(&tokens, ids, n, pieces, &further), count);
    ck_assert_int_eq(further, go_on);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(pieces[i].first, expected[i].first);
        ck_assert_int_eq(pieces[i].last, expected[i].last);
        ck_assert_int_eq(pieces[i].start, expected[i].start);
        ck_assert_int_eq(pieces[i].end, expected[i].end);
    }
}

#define CUTS(count, expected, go_on, ...)                                                                                      \
    cuts((int32_t[]){ __VA_ARGS__ }, (int)(sizeof(int32_t[]){ __VA_ARGS__ } / sizeof(int32_t)), count, expected, go_on)

START_TEST(segments_end_between_times)
{
    /* two segments, words behind them are heard again */
    CUTS(2, ((vr_speech_piece[]){ { 0, 3, 0, 20 }, { 3, 6, 20, 45 } }), 45, TIMES, 1, time_of(20), time_of(20), 2, time_of(45),
         time_of(45), 3);
    /* a single time at the end: all was heard */
    CUTS(2, ((vr_speech_piece[]){ { 0, 3, 0, 20 }, { 3, 6, 25, 45 } }), -1, TIMES, 1, time_of(20), time_of(25), 2, time_of(45));
    CUTS(1, ((vr_speech_piece[]){ { 0, 3, 0, 20 } }), 20, TIMES, 1, time_of(20), time_of(20));
    /* no pair: one segment, to the last time or the window's end */
    CUTS(1, ((vr_speech_piece[]){ { 0, 3, 0, 30 } }), -1, time_of(2), 1, time_of(30));
    CUTS(1, ((vr_speech_piece[]){ { 0, 2, 0, -1 } }), -1, TIMES, 1);
    CUTS(1, ((vr_speech_piece[]){ { 0, 3, 0, 5 } }), -1, time_of(5), 1, 2);
    cuts(NULL, 0, 1, (vr_speech_piece[]){ { 0, 0, 0, -1 } }, -1);
}
END_TEST

int main(void)
{
    random_state = (uint64_t)time(NULL) * 2654435761U | 1;
    printf("speech_test: seed %llu\n", (unsigned long long)random_state);
    const int file = mkstemp(temporary_name(path, sizeof path, "vidrun-speech-XXXXXX"));
    if (file < 0) return 1;
    close(file);
    TCase *tests = tcase_create("speech");
    tcase_add_test(tests, spectrum_is_its_formula);
    tcase_add_test(tests, every_rate_and_number_of_channels);
    tcase_add_test(tests, windows_follow_the_sound);
    tcase_add_test(tests, short_and_silent_sounds);
    tcase_add_test(tests, times_come_in_pairs);
    tcase_add_test(tests, numbers_that_are_none_stay_harmless);
    tcase_add_test(tests, segments_end_between_times);
    const int failed = suite_run_case("speech", tests);
    unlink(path);
    return failed;
}
