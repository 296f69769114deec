// Test bodies: each works on arrays so that it can be called from code of any instruction set.
void TestUnary(int op, const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) {
    const int64_t count = n - i < 16 ? n - i : 16;
    const F32x16 a = LoadPartial(x + i, count);
    F32x16 b = a;
    if (op == kExp) b = Exp(a);
    if (op == kSigmoid) b = Sigmoid(a);
    if (op == kSilu) b = Silu(a);
    if (op == kErf) b = Erf(a);
    if (op == kGelu) b = Gelu(a);
    if (op == kRound) b = Round(a);
    if (op == kSqrt) b = Sqrt(a);
    if (op == kAbs) b = Abs(a);
    StorePartial(b, y + i, count);
  }
}

void TestBinary(int op, const float* x, const float* y, float* z) {
  const F32x16 a = Load(x);
  const F32x16 b = Load(y);
  F32x16 c = a;
  if (op == kAdd) c = Add(a, b);
  if (op == kSub) c = Sub(a, b);
  if (op == kMul) c = Mul(a, b);
  if (op == kDiv) c = Div(a, b);
  if (op == kMax) c = Max(a, b);
  if (op == kMin) c = Min(a, b);
  if (op == kMulThenAdd) c = Add(Mul(a, b), a);
  if (op == kMulAdd) c = MulAdd(a, b, a);
  if (op == kNegMulAdd) c = NegMulAdd(a, b, a);
  if (op == kChoose) c = Choose(Less(a, b), Splat(1), Splat(2));
  Store(c, z);
}

uint32_t TestBits(const float* x, const float* y, int which, int64_t n) {
  if (which == 0) return Bits(Less(Load(x), Load(y)));
  if (which == 1) return Bits(GreaterEqual(Load(x), Load(y)));
  return Bits(FirstLanes(n));
}

template <int kCount>
void TestReduceEach(const float* x, float* y) {
  F32x16 v[kCount];
  for (int i = 0; i < kCount; ++i) v[i] = Load(x + 16 * i);
  ReduceAddEach<kCount>(v, y);
}

void TestReduce(int count, const float* x, float* y) {
  if (count == 1) TestReduceEach<1>(x, y);
  if (count == 3) TestReduceEach<3>(x, y);
  if (count == 4) TestReduceEach<4>(x, y);
  if (count == 6) TestReduceEach<6>(x, y);
  if (count == 8) TestReduceEach<8>(x, y);
  if (count == 24) TestReduceEach<24>(x, y);
  if (count == 31) TestReduceEach<31>(x, y);
}

float TestReduceMax(const float* x) { return ReduceMax(Load(x)); }

// x as floats and as bf16 in one order of lanes, and put in order again.
template <class T>
void TestAnyOrder(const T* x, float* any_order, float* in_order) {
  const F32x16 v = LoadInAnyOrder(x);
  Store(v, any_order);
  Store(InOrder(v), in_order);
}
void TestAnyOrderFloat(const float* x, float* any_order, float* in_order) {
  TestAnyOrder(x, any_order, in_order);
}
void TestAnyOrderBf16(const Bf16* x, float* any_order, float* in_order) {
  TestAnyOrder(x, any_order, in_order);
}

void TestWiden(const Bf16* x, float* y, int64_t n) {
  Store(n == 16 ? Load(x) : LoadPartial(x, n), y);
}
