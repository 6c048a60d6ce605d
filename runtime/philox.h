/* philox.h: the counter-based random generator that all stochastic rounding draws from.
 *
 * Philox4x32 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC'11) turns a key
 * and a counter into 128 random bits without any state, so that every element's draw is known from where it
 * lies: results do not depend on the number of threads, on the instruction set or on the device. Seven rounds
 * pass the same test batteries as the usual ten.
 *
 * gcc, clang and nvcc compile this header.
 */
#ifndef ACTNN_PHILOX_H
#define ACTNN_PHILOX_H

#include <stdint.h>

#ifdef __CUDACC__
#define ACTNN_DEVICE __host__ __device__
#else
#define ACTNN_DEVICE
#endif

#define ACTNN_PHILOX_ROUNDS 7

typedef struct actnn_philox_key {
  uint32_t word[2];
} actnn_philox_key;

typedef struct actnn_philox_block {
  uint32_t word[4];
} actnn_philox_block;

/* One block of 128 random bits: `counter` enciphered under `key`. */
static inline ACTNN_DEVICE actnn_philox_block
actnn_philox(actnn_philox_block counter, actnn_philox_key key, int rounds)
{
  uint32_t a = counter.word[0], b = counter.word[1], c = counter.word[2], d = counter.word[3];
  uint32_t first = key.word[0], second = key.word[1];
  for (int round = 0; round < rounds; round++) {
    uint64_t from_a = (uint64_t)0xD2511F53u * a, from_c = (uint64_t)0xCD9E8D57u * c;
    a = (uint32_t)(from_c >> 32) ^ b ^ first;
    b = (uint32_t)from_c;
    c = (uint32_t)(from_a >> 32) ^ d ^ second;
    d = (uint32_t)from_a;
    first += 0x9E3779B9u;
    second += 0xBB67AE85u;
  }
  actnn_philox_block out;
  out.word[0] = a;
  out.word[1] = b;
  out.word[2] = c;
  out.word[3] = d;
  return out;
}

/* A bijection of 64-bit words in which every input bit reaches every output bit (the finalizer of
 * SplitMix64). */
static inline ACTNN_DEVICE uint64_t
actnn_mix(uint64_t value)
{
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

/* The key of one random stream. `stream` names who draws (a save, a dropout), `use` tells apart several draws
 * by the same one within a step. Mixed one after the other, so that (1, 2) and (2, 1) differ. */
static inline ACTNN_DEVICE actnn_philox_key
actnn_random_key(uint64_t seed, uint64_t step, uint64_t stream, uint64_t use)
{
  uint64_t mixed = actnn_mix(actnn_mix(actnn_mix(actnn_mix(seed) ^ step) ^ stream) ^ use);
  actnn_philox_key key;
  key.word[0] = (uint32_t)mixed;
  key.word[1] = (uint32_t)(mixed >> 32);
  return key;
}

#endif
