/*
 * fuzz.h - the one function of a fuzz target.
 *
 *   libFuzzer (make fuzz) ---------------+
 *   replay.c over a folder (make check) -+-> LLVMFuzzerTestOneInput(bytes) -> the parser under test
 *
 * Each tests/fuzz/NAME.c defines it once; tests/fuzz/corpus/NAME holds its inputs. A finding is a crash, a report of a
 * sanitizer, or a failed assert; the return value is always 0.
 * Ref:  https://llvm.org/docs/LibFuzzer.html (fuzz target).
 */
#ifndef VR_FUZZ_H
#define VR_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#endif
