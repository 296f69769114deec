// Sums everything into eight accumulators; the sum is returned so that no load can be left out.
float ReadAll(const float* p, int64_t floats) {
  F32x16 sums[8];
  for (F32x16& sum : sums) sum = Zero();
  for (int64_t i = 0; i + 128 <= floats; i += 128) {
    Prefetch(p + i + 1024);
    Prefetch(p + i + 1040);
    Prefetch(p + i + 1056);
    Prefetch(p + i + 1072);
    Prefetch(p + i + 1088);
    Prefetch(p + i + 1104);
    Prefetch(p + i + 1120);
    Prefetch(p + i + 1136);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) sums[j] = Max(sums[j], Load(p + i + 16 * j));
  }
  float total = 0;
  for (const F32x16& sum : sums) total += ReduceAdd(sum);
  return total;
}

// Multiply-adds on kChains independent accumulators, enough to hide the latency (4 cycles, 2 units,
// 2 registers each on AVX2). Returns the multiply-adds done.
int64_t MulAddChains(int64_t rounds, float* sink) {
  constexpr int kChains = kSimdRegisters >= 32 ? 16 : kSimdRegisters >= 8 ? 6 : 2;
  F32x16 sums[kChains];
  for (int j = 0; j < kChains; ++j) sums[j] = Splat(static_cast<float>(j));
  const F32x16 factor = Splat(sink[0]);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (int j = 0; j < kChains; ++j) sums[j] = MulAdd(sums[j], factor, factor);
  }
  for (int j = 0; j < kChains; ++j) sink[0] += ReduceAdd(sums[j]);
  return rounds * kChains * 16;
}
