/*
 * peer.c - children that do the same work and time it: Python with PyTorch and numpy; llama-bench.
 *
 *   child:   hello                        -> "TORCH NUMPY" (versions, - where missing)
 *            case WHAT TYPE PATH N1 N2 .. -> "ok" or "no REASON";  the child has read PATH when it answers
 *            run LIBRARY                  -> "SECONDS RESULT" or "no REASON"
 *
 *   llama:   llama-bench ... -o json      -> nanoseconds of what was asked;  one process a call
 *
 * The child times itself, so pipes and start do not count. Its input is a file in memory, removed as soon as it is read.
 * Owner: the peer owns its child.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "bench/bench.h"

struct peer {
    pid_t pid;
    FILE *to, *from;
    char torch[24], numpy[24];
    int64_t expected; /* result of a call; negative: any */
};

extern char **environ;

/* One line to the child, one line back, without its newline; false: the child is gone. */
static bool ask(peer *p, const char *line, char *answer, int size)
{
    if (fprintf(p->to, "%s\n", line) < 0 || fflush(p->to) != 0 || !fgets(answer, size, p->from)) return false;
    answer[strcspn(answer, "\n")] = '\0';
    return true;
}

void peer_close(peer *p)
{
    if (!p) return;
    if (p->to) fclose(p->to);
    if (p->from) fclose(p->from);
    if (p->pid > 0) waitpid(p->pid, NULL, 0);
    free(p);
}

/* A child with a pipe in both directions; quiet: what it says on standard error is lost. */
static bool start(peer *p, char *const *argv, bool quiet)
{
    int to[2], from[2];
    if (pipe(to) != 0) return false;
    if (pipe(from) != 0) {
        close(to[0]);
        close(to[1]);
        return false;
    }
    fcntl(to[1], F_SETFD, FD_CLOEXEC);
    fcntl(from[0], F_SETFD, FD_CLOEXEC);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    posix_spawn_file_actions_addclose(&actions, to[0]);
    posix_spawn_file_actions_addclose(&actions, from[1]);
    if (quiet) posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    const int rc = posix_spawnp(&p->pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    close(from[1]);
    p->to = fdopen(to[1], "w");
    p->from = fdopen(from[0], "r");
    if (rc != 0) p->pid = 0;
    return rc == 0 && p->to && p->from;
}

static peer *open_with(const char *python, const char *script, int n_threads)
{
    char answer[128], threads[16];
    char *const argv[] = { (char *)(uintptr_t)python, (char *)(uintptr_t)script, threads, NULL };
    snprintf(threads, sizeof threads, "%d", n_threads);
    peer *p = calloc(1, sizeof *p);
    if (p && start(p, argv, false) && ask(p, "hello", answer, (int)sizeof answer) &&
        sscanf(answer, "%23s %23s", p->torch, p->numpy) == 2 && strcmp(p->numpy, "-") != 0)
        return p;
    peer_close(p);
    return NULL;
}

peer *peer_open(const char *script, int n_threads)
{
    const char *const pythons[] = { getenv("PYTHON"), "python3", "/usr/bin/python3" };
    peer *best = NULL;
    if (access(script, R_OK) != 0) {
        bench_note("SKIP peers: %s: %s (--peers FILE)", script, strerror(errno));
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN); /* a child that ends is an answer that does not come */
    for (size_t i = 0; i < sizeof pythons / sizeof pythons[0]; i++) {
        if (!pythons[i] || (best && peer_torch(best))) continue;
        peer *p = open_with(pythons[i], script, n_threads);
        if (p && (!best || peer_torch(p))) {
            peer *const worse = best;
            best = p, p = worse;
        }
        peer_close(p);
    }
    if (!best) bench_note("SKIP peers: no Python with numpy (PYTHON=...)");
    if (best && !peer_torch(best)) bench_note("SKIP peer torch: not installed");
    return best;
}

const char *peer_torch(const peer *p)
{
    return strcmp(p->torch, "-") == 0 ? NULL : p->torch;
}

static bool ask_case(peer *p, const char *what, const char *type, const char *path, const int *numbers, int n_numbers)
{
    char line[4608], answer[256] = "no answer";
    int at = snprintf(line, sizeof line, "case %s %s %s", what, type, path);
    for (int i = 0; i < n_numbers && at < 4096; i++) at += snprintf(line + at, sizeof line - (size_t)at, " %d", numbers[i]);
    const bool ok = ask(p, line, answer, (int)sizeof answer) && strcmp(answer, "ok") == 0;
    if (!ok) bench_note("SKIP peers of %s %s: %s", what, type, answer);
    return ok;
}

static bool hand_over(peer *p, const char *what, const char *type, const void *x, size_t n_bytes, const int *numbers,
                      int n_numbers)
{
    const char *const folders[] = { "/dev/shm", getenv("TMPDIR"), "/tmp" };
    char path[256];
    int fd = -1;
    if (!x) return ask_case(p, what, type, "-", numbers, n_numbers);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && fd < 0; i++) {
        if (!folders[i]) continue;
        snprintf(path, sizeof path, "%s/vidrun-bench-XXXXXX", folders[i]);
        fd = mkstemp(path);
    }
    const int why = fd < 0 ? errno : vr_write_whole(fd, x, n_bytes);
    if (why != 0) bench_note("SKIP peers of %s %s: %s", what, type, strerror(why));
    if (fd >= 0) close(fd);
    const bool ok = why == 0 && ask_case(p, what, type, path, numbers, n_numbers);
    if (fd >= 0) unlink(path);
    return ok;
}

static double time_call(peer *p, const char *library)
{
    char line[64], answer[256];
    double time = -1.0;
    long long result = 0;
    snprintf(line, sizeof line, "run %s", library);
    if (!ask(p, line, answer, (int)sizeof answer) || sscanf(answer, "%lf %lld", &time, &result) != 2) return -1.0;
    bench_rest(5); /* its idle threads spin for a while */
    if (p->expected < 0 || result == p->expected) return time;
    bench_note("%s gives %lld, not %lld: not counted", library, result, (long long)p->expected);
    return -1.0;
}

static double call_torch(void *arg)
{
    return time_call(arg, "torch");
}

static double call_numpy(void *arg)
{
    return time_call(arg, "numpy");
}

static bench_way *add(peer *p, bench_group *g, const char *library, const char *version, double (*call)(void *arg),
                      int most_rounds)
{
    bench_way *w = bench_add(g, BENCH_PEER, "", call, p);
    snprintf(w->name, sizeof w->name, "%s-%s", library, version);
    w->most_rounds = most_rounds;
    return w;
}

void peer_add(peer *p, bench_group *g, const char *what, const void *x, size_t n_bytes, const int *numbers, int n_numbers,
              int torch_rounds, int numpy_rounds)
{
    if (!p || (!numpy_rounds && !peer_torch(p))) return;
    if (!hand_over(p, what, g->type, x, n_bytes, numbers, n_numbers)) return;
    p->expected = -1;
    if (torch_rounds && peer_torch(p)) add(p, g, "torch", p->torch, call_torch, torch_rounds);
    if (numpy_rounds) add(p, g, "numpy", p->numpy, call_numpy, numpy_rounds);
}

void peer_expect(peer *p, int64_t result)
{
    p->expected = result;
}

static double call_llama(void *arg)
{
    return time_call(arg, "llama");
}

bench_way *peer_add_llama(peer *p, bench_group *g, const char *module, const char *weights, int n_prompt, int n_answer,
                          int depth)
{
    const int numbers[] = { n_prompt, n_answer, depth };
    if (!p || !ask_case(p, "llama", module, weights, numbers, 3)) return NULL;
    p->expected = -1;
    return add(p, g, "llama.cpp", module, call_llama, 0);
}

double peer_llama(const char *program, const char *weights, int n_threads, int n_prompt, int n_answer, int depth)
{
    peer p = { 0 };
    char numbers[4][16], line[4096];
    const int values[4] = { n_threads, n_prompt, n_answer, depth };
    for (int i = 0; i < 4; i++) snprintf(numbers[i], sizeof numbers[i], "%d", values[i]);
    const char *const words[] = { program, "-m",       weights, "-t", numbers[0], "-p", numbers[1], "-n",   numbers[2],
                                  "-d",    numbers[3], "-r",    "1",  "-fa",      "1",  "-o",       "json", NULL };
    double nanoseconds = -1.0;
    if (start(&p, (char *const *)(uintptr_t)words, true)) {
        while (fgets(line, sizeof line, p.from)) {
            const char *found = strstr(line, "\"avg_ns\":");
            if (found) nanoseconds = strtod(found + strlen("\"avg_ns\":"), NULL);
        }
    }
    if (p.to) fclose(p.to);
    if (p.from) fclose(p.from);
    if (p.pid > 0) waitpid(p.pid, NULL, 0);
    return nanoseconds > 0.0 ? 1e-9 * nanoseconds : -1.0;
}
