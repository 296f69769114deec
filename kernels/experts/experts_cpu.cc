// Invariants:
// 1. Uses are grouped by expert, in ascending (expert, token). A group's tokens go through the
//    expert together; its weights are read by nothing else.
// 2. Groups run in ascending order of expert, so each token's sum does.
// 3. What a linear or an activation gives for a token does not depend on the group's size.
#include <algorithm>
#include <cstring>

#include "kernels/activation/activation.h"
#include "kernels/experts/experts.h"
#include "kernels/linear/linear.h"
#include "kernels/simd/simd.h"

#define MNEME_SIMD_BODY "kernels/experts/experts_simd.inl"
#include "kernels/simd/for_each_isa.inl"

namespace mneme::kernels {
namespace {

// A token that chose an expert.
struct Use {
  int32_t token;
  float weight;
};

struct Scratch {
  float* x;         // [tokens, dim]: the rows of a group, where they do not lie together
  float* gate;      // [tokens, hidden]
  float* up;        // [tokens, hidden]
  float* out;       // [tokens, dim]
  Use* uses;        // [tokens * top_k]
  int32_t* starts;  // [experts + 1]: where the uses of each begin
};

// Lays the pieces out from address `at` on, 64-byte aligned. Returns where they end.
uintptr_t Carve(uintptr_t at, const ExpertsShape& s, Scratch* scratch) {
  const auto take = [&at](int64_t bytes) {
    const uintptr_t piece = at;
    at += static_cast<uintptr_t>((bytes + 63) / 64 * 64);
    return piece;
  };
  scratch->x = reinterpret_cast<float*>(take(s.tokens * s.dim * 4));
  scratch->gate = reinterpret_cast<float*>(take(s.tokens * s.hidden * 4));
  scratch->up = reinterpret_cast<float*>(take(s.tokens * s.hidden * 4));
  scratch->out = reinterpret_cast<float*>(take(s.tokens * s.dim * 4));
  scratch->uses =
      reinterpret_cast<Use*>(take(s.tokens * s.top_k * static_cast<int64_t>(sizeof(Use))));
  scratch->starts = reinterpret_cast<int32_t*>(take((s.experts + 1) * 4));
  return at;
}

// Fills scratch.uses and scratch.starts.
void GroupUses(const ExpertsArgs& args, const Scratch& scratch) {
  const auto count = static_cast<int32_t>(args.weights.size());
  int32_t* starts = scratch.starts;
  std::fill_n(starts, count + 1, 0);
  for (int64_t t = 0; t < args.expert.rows; ++t) {
    for (int64_t j = 0; j < args.expert.cols; ++j) {
      const int32_t e = args.expert.row(t)[j] - args.first;
      if (e >= 0 && e < count) ++starts[e];
    }
  }
  // Now where each group ends; filling it from behind leaves where it begins.
  for (int32_t e = 1; e <= count; ++e) starts[e] += starts[e - 1];
  for (int64_t t = args.expert.rows; t-- > 0;) {
    for (int64_t j = 0; j < args.expert.cols; ++j) {
      const int32_t e = args.expert.row(t)[j] - args.first;
      if (e < 0 || e >= count) continue;
      scratch.uses[--starts[e]] = {static_cast<int32_t>(t), args.weight.row(t)[j]};
    }
  }
}

// The rows of x of a group: a view where they lie together.
Matrix<const float> RowsOf(const ExpertsArgs& args, const Scratch& scratch, const Use* uses,
                           int64_t count) {
  const int64_t first = uses[0].token;
  if (uses[count - 1].token - first == count - 1) return args.x.Rows(first, count);
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(scratch.x + i * args.x.cols, args.x.row(uses[i].token),
                static_cast<size_t>(args.x.cols) * sizeof(float));
  }
  return MakeMatrix<const float>(scratch.x, count, args.x.cols);
}

template <Isa kIsa>
void RunExpert(const ExpertsArgs& args, const Scratch& scratch, const ExpertWeights& w,
               const Use* uses, int64_t count) {
  const Matrix<const float> x = RowsOf(args, scratch, uses, count);
  const int64_t hidden = w.gate.rows;
  const Matrix<float> gate = MakeMatrix(scratch.gate, count, hidden);
  const Matrix<float> up = MakeMatrix(scratch.up, count, hidden);
  const Matrix<float> out = MakeMatrix(scratch.out, count, w.down.rows);
  ResolveLinear(w.gate.dtype, kIsa)({.x = x, .w = w.gate, .y = gate});
  ResolveLinear(w.up.dtype, kIsa)({.x = x, .w = w.up, .y = up});
  ResolveActivation(ActivationKind::kSwiglu,
                    kIsa)({.kind = ActivationKind::kSwiglu, .a = up, .g = gate, .y = up});
  ResolveLinear(w.down.dtype, kIsa)({.x = up, .w = w.down, .y = out});
  const auto add = MNEME_SIMD_SELECT(kIsa, AddScaled);
  for (int64_t i = 0; i < count; ++i) {
    add(uses[i].weight, out.row(i), out.cols, args.y.row(uses[i].token));
  }
}

template <Isa kIsa>
Traffic Experts(const ExpertsArgs& args) {
  const auto experts = static_cast<int64_t>(args.weights.size());
  for (int64_t t = 0; t < args.y.rows; ++t) {
    std::memset(args.y.row(t), 0, static_cast<size_t>(args.y.cols) * sizeof(float));
  }
  if (experts == 0) return ExpertsTraffic(args, 0);
  Scratch scratch;
  Carve(reinterpret_cast<uintptr_t>(args.scratch),
        {.tokens = args.x.rows,
         .top_k = args.expert.cols,
         .dim = args.x.cols,
         .hidden = args.weights[0].gate.rows,
         .experts = experts},
        &scratch);
  GroupUses(args, scratch);
  int64_t active = 0;
  for (int64_t e = 0; e < experts; ++e) {
    const Use* uses = scratch.uses + scratch.starts[e];
    const int64_t count = scratch.starts[e + 1] - scratch.starts[e];
    if (count == 0) continue;
    ++active;
    RunExpert<kIsa>(args, scratch, args.weights[e], uses, count);
    if (args.token_bytes == nullptr) continue;
    const double share = static_cast<double>(args.weights[e].bytes()) / static_cast<double>(count);
    for (int64_t i = 0; i < count; ++i) args.token_bytes[uses[i].token] += share;
  }
  return ExpertsTraffic(args, active);
}

}  // namespace

int64_t ExpertsScratchBytes(const ExpertsShape& shape) {
  Scratch scratch;
  return static_cast<int64_t>(Carve(0, shape, &scratch));
}

ExpertsFn ResolveExperts(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return Experts<Isa::kAvx512>;
    case Isa::kAvx2:
      return Experts<Isa::kAvx2>;
    case Isa::kPortable:
      break;
  }
  return Experts<Isa::kPortable>;
}

}  // namespace mneme::kernels
