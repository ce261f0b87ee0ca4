# vidrun: see README.md; `make help` lists the targets.
BUILD ?= build
CC ?= cc
CFLAGS ?= -O2 -g
PKGS := libavformat libavcodec libswscale libswresample libavutil openblas
STD := -std=c11 -Isrc -I. -D_POSIX_C_SOURCE=200809L
WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wdouble-promotion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wundef -Wcast-qual -Wwrite-strings -Wformat=2 -Wpointer-arith
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
LIB_SRC := $(wildcard src/*.c src/base/*.c src/media/*.c src/encode/*.c src/compress/*.c src/project/*.c src/decode/*.c src/text/*.c \
             src/systems/*.c src/cli/*.c kernels/cpu/*.c kernels/ref/*.c kernels/x86/*.c)
LIB_SRC := $(filter-out src/main.c,$(LIB_SRC))
LIB_OBJ := $(LIB_SRC:%.c=$(BUILD)/%.o)
all: $(BUILD)/vidrun
# instruction sets per object, chosen at run time
$(BUILD)/kernels/x86/%_avx2.o: ISA := -mavx2 -mfma -mf16c
$(BUILD)/kernels/x86/%_avx512.o: ISA := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
$(BUILD)/kernels/ref/%.o: ISA := -ffp-contract=off
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(STD) $(WARN) $(PKG_CFLAGS) $(CFLAGS) $(ISA) -MMD -MP -c $< -o $@
$(BUILD)/libvidrun.a: $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^
$(BUILD)/vidrun: $(BUILD)/src/main.o $(BUILD)/libvidrun.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(PKG_LIBS) -lm -lpthread -o $@
-include $(LIB_OBJ:.o=.d)
# each tests/*/*_test.c is one Check program, run from the root
TESTS := $(wildcard tests/unit/*_test.c tests/check/*_test.c)
TEST_BIN := $(TESTS:%.c=$(BUILD)/%)
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)
$(BUILD)/tests/%_test: $(BUILD)/tests/%_test.o $(BUILD)/libvidrun.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(CHECK_LIBS) $(PKG_LIBS) -lm -lpthread -o $@
check: all $(TEST_BIN)
	@set -e; for t in $(TEST_BIN); do $$t; done
-include $(TEST_BIN:=.d)
.PHONY: all check
.SECONDARY:
