// Body of experts_cpu.cc, once per instruction set.

// y[0, count) += weight · from[0, count).
inline void AddScaled(float weight, const float* from, int64_t count, float* y) {
  const F32x16 w = Splat(weight);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) Store(MulAdd(w, Load(from + i), Load(y + i)), y + i);
  if (i == count) return;
  const int64_t lanes = count - i;
  StorePartial(MulAdd(w, LoadPartial(from + i, lanes), LoadPartial(y + i, lanes)), y + i, lanes);
}
