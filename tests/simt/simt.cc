/*
 * simt.cc - see simt.h: contexts, barriers, shared memory.
 *
 *   block: threads are started one by one; whoever ends gives its stack to the next -> whoever waits is woken when its group is
 *   complete -> nobody can go on: a report
 *
 * Contexts are switched by hand on x86-64 (a call that comes back on another stack); swapcontext elsewhere, which asks the kernel
 * each time. AddressSanitizer is told about every switch.
 */
#include "simt.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMT_ASAN 1
#endif
#endif
#ifdef SIMT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

std::recursive_mutex simt_lock;
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace
{

const size_t STACK_BYTES = 256 << 10, GUARD = 64, SLOT = 64;
const unsigned char GUARD_BYTE = 0xa5;
enum state { FRESH, READY, AT_BARRIER, AT_WARP, DONE };

struct context {
#if defined(__x86_64__)
    void *sp = nullptr;
#else
    ucontext_t uc;
#endif
    const void *bottom = nullptr; /* for AddressSanitizer */
    size_t size = 0;
};

struct copy {
    void *to;
    const void *from;
    int group;
};

struct thread {
    state at = FRESH;
    simt_place place = { "", 0 };
    context c;
    int stack = -1;
    const void *mine = nullptr; /* handed in to the warp */
    size_t n_mine = 0;
    std::vector<copy> copies; /* on their way */
    int group = 0;            /* of the next copy */
};

struct shared_block {
    const void *key;
    std::unique_ptr<unsigned char[]> memory; /* guard, data, guard */
    size_t n_bytes;
};

std::vector<thread> threads;
std::vector<void *> stacks;
std::vector<int> free_stacks;
std::vector<shared_block> shared;
std::vector<unsigned char> warps; /* [warps][32][SLOT] what lanes handed in */
context scheduler;
thread *running;
const std::function<void()> *body;
const char *kernel_name = "";
size_t dynamic_bytes;
std::string report;
bool failed; /* the block that runs */

#if defined(__x86_64__)
extern "C" void simt_swap(void **save, void *load);
asm(".text\n.globl simt_swap\n.hidden simt_swap\n.type simt_swap,@function\nsimt_swap:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n.size simt_swap,.-simt_swap\n");
#endif

void change(context &from, context &to, bool for_ever)
{
#ifdef SIMT_ASAN
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(for_ever ? nullptr : &fake, to.bottom, to.size);
#else
    (void)for_ever;
#endif
#if defined(__x86_64__)
    simt_swap(&from.sp, to.sp);
#else
    swapcontext(&from.uc, &to.uc);
#endif
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void thread_main()
{
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &scheduler.bottom, &scheduler.size);
#endif
    (*body)();
    running->at = DONE;
    change(running->c, scheduler, true);
    abort(); /* never comes back */
}

void start(thread &t)
{
    if (free_stacks.empty()) {
        void *p = mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) abort();
        free_stacks.push_back((int)stacks.size());
        stacks.push_back(p);
    }
    t.stack = free_stacks.back();
    free_stacks.pop_back();
    unsigned char *const bottom = static_cast<unsigned char *>(stacks[(size_t)t.stack]);
    t.c.bottom = bottom, t.c.size = STACK_BYTES;
#if defined(__x86_64__)
    void **top = reinterpret_cast<void **>(bottom + STACK_BYTES) - 2;
    *--top = nullptr; /* where a return address would be: thread_main begins with a stack as after a call */
    *--top = reinterpret_cast<void *>(thread_main);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    t.c.sp = top;
#else
    getcontext(&t.c.uc);
    t.c.uc.uc_stack.ss_sp = bottom, t.c.uc.uc_stack.ss_size = STACK_BYTES, t.c.uc.uc_link = nullptr;
    makecontext(&t.c.uc, thread_main, 0);
#endif
}

void step(int index)
{
    thread &t = threads[(size_t)index];
    if (t.at == FRESH) start(t);
    t.at = READY;
    running = &t;
    threadIdx.x = (unsigned)index % blockDim.x;
    threadIdx.y = (unsigned)index / blockDim.x % blockDim.y;
    threadIdx.z = (unsigned)index / blockDim.x / blockDim.y;
    change(scheduler, t.c, false);
    if (t.at == DONE) free_stacks.push_back(t.stack), t.stack = -1;
    if (t.at == DONE && !t.copies.empty()) simt_report("%zu copies to shared memory that nobody waited for", t.copies.size());
}

void wait(state at, simt_place place)
{
    running->at = at;
    running->place = place;
    thread *const me = running;
    change(me->c, scheduler, false);
}

bool same(simt_place a, simt_place b)
{
    return a.line == b.line && strcmp(a.file, b.file) == 0;
}

/* All lanes of the warp wait for each other: their numbers are laid out, and they go on. */
bool warp_wake(size_t first)
{
    for (size_t i = first; i < first + 32; i++)
        if (threads[i].at != AT_WARP || !same(threads[i].place, threads[first].place)) return false;
    for (size_t i = first; i < first + 32; i++) memcpy(&warps[i * SLOT], threads[i].mine, threads[i].n_mine);
    for (size_t i = first; i < first + 32; i++) threads[i].at = READY;
    return true;
}

bool block_wake()
{
    for (const thread &t : threads)
        if (t.at != AT_BARRIER || !same(t.place, threads[0].place)) return false;
    for (thread &t : threads) t.at = READY;
    return true;
}

void divergence()
{
    size_t n = 0, done = 0;
    const thread *first = nullptr;
    for (const thread &t : threads) {
        if (t.at == DONE) done++;
        if (!first && (t.at == AT_BARRIER || t.at == AT_WARP)) first = &t;
    }
    if (!first) return;
    for (const thread &t : threads) n += t.at == first->at && same(t.place, first->place);
    simt_report("divergent %s at %s:%d: %zu of %zu threads are there, %zu have ended",
                first->at == AT_BARRIER ? "__syncthreads" : "warp function", first->place.file, first->place.line, n,
                threads.size(), done);
}

void guards_check()
{
    for (const shared_block &b : shared)
        for (size_t i = 0; i < GUARD; i++)
            if (b.memory[i] != GUARD_BYTE || b.memory[GUARD + b.n_bytes + i] != GUARD_BYTE) {
                simt_report("shared memory: written beside an array of %zu bytes", b.n_bytes);
                return;
            }
}

void run_block()
{
    const size_t n = threads.size();
    for (thread &t : threads) t.at = FRESH, t.copies.clear(), t.group = 0;
    shared.clear();
    for (size_t left = n; left > 0;) {
        bool moved = false;
        for (size_t i = 0; i < n && !failed; i++) {
            /* a warp first: its lanes go on together while they have only each other to wait for */
            if (threads[i].at != FRESH && threads[i].at != READY) continue;
            step((int)i);
            moved = true;
            if (threads[i].at == DONE) left--;
        }
        for (size_t i = 0; i + 32 <= n && !failed; i += 32) moved |= warp_wake(i);
        if (!moved && !failed) moved = block_wake();
        if (!moved && left > 0 && !failed) divergence();
        if (failed) break;
    }
    if (!failed) guards_check();
    for (thread &t : threads) {
        if (t.stack >= 0) free_stacks.push_back(t.stack), t.stack = -1; /* after a report: given up where it stands */
    }
}

} // namespace

/* simt_runtime.cc */
void simt_memory_guard(bool open);
bool simt_gone();
bool simt_capture(const std::function<void()> &work, const char *kind);

void simt_report(const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (report.empty()) report = std::string(kernel_name) + ": " + text;
    failed = true;
}

const char *simt_report_text()
{
    return report.c_str();
}

void simt_report_clear()
{
    report.clear();
}

void simt_barrier(simt_place place)
{
    wait(AT_BARRIER, place);
}

const unsigned char *simt_exchange(const void *mine, size_t n, simt_place place)
{
    const size_t index = (size_t)(running - threads.data());
    running->mine = mine, running->n_mine = n;
    wait(AT_WARP, place);
    return &warps[index / 32 * 32 * SLOT];
}

void simt_copy(void *to, const void *from)
{
    if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0)
        simt_report("a copy to shared memory that is not at multiples of 16 bytes");
    running->copies.push_back({ to, from, running->group });
}

void simt_copy_group()
{
    running->group++;
}

void simt_copy_wait(int n_groups)
{
    std::vector<copy> later;
    for (const copy &c : running->copies) {
        if (c.group < running->group - n_groups)
            memcpy(c.to, c.from, 16);
        else
            later.push_back(c);
    }
    running->copies.swap(later);
}

void *simt_shared(const void *key, size_t *n_bytes)
{
    for (const shared_block &b : shared)
        if (b.key == key) {
            *n_bytes = b.n_bytes;
            return b.memory.get() + GUARD;
        }
    if (!key) *n_bytes = dynamic_bytes;
    shared_block b = { key, std::unique_ptr<unsigned char[]>(new unsigned char[*n_bytes + 2 * GUARD]), *n_bytes };
    memset(b.memory.get(), GUARD_BYTE, *n_bytes + 2 * GUARD);
    memset(b.memory.get() + GUARD, 0xff, *n_bytes);
    shared.push_back(std::move(b));
    return shared.back().memory.get() + GUARD;
}

void simt_run(const char *name, dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &thread_body)
{
    if (simt_gone() || simt_capture([=] { simt_run(name, grid, block, shared_bytes, thread_body); }, "kernel")) return;
    const std::lock_guard<std::recursive_mutex> hold(simt_lock);
    if (!report.empty()) return; /* as on a GPU: nothing runs after a failure */
    const size_t n = (size_t)block.x * block.y * block.z;
    kernel_name = name, body = &thread_body, dynamic_bytes = shared_bytes, failed = false;
    if (n < 1 || n > 1024 || n % 32 != 0 || grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.y > 65535 || grid.z > 65535 ||
        shared_bytes > (48u << 10)) {
        simt_report("refused launch: grid %u x %u x %u, block %zu, %zu bytes of shared memory", grid.x, grid.y, grid.z, n,
                    shared_bytes);
        return;
    }
    simt_memory_guard(true);
    gridDim = grid, blockDim = block;
    threads.resize(n);
    warps.assign(n * SLOT, 0);
    for (blockIdx.z = 0; blockIdx.z < grid.z && !failed; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid.y && !failed; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid.x && !failed; blockIdx.x++) run_block();
    simt_memory_guard(false);
}
