#include <algorithm>

#include "kernels/embedding/embedding.h"

namespace mneme::kernels {
namespace {

template <class W>
void CopyRows(const EmbeddingArgs& args) {
  const Matrix<const W> table = args.table.As<W>();
  for (int64_t t = 0; t < args.y.rows; ++t) {
    const int32_t id = args.ids[static_cast<size_t>(t)];
    for (int64_t i = 0; i < args.y.cols; ++i) {
      args.y.row(t)[i] = args.has(id) ? ToFloat(table.row(id - args.first_row)[i]) : 0.0f;
    }
  }
}

}  // namespace

Traffic EmbeddingReference(const EmbeddingArgs& args) {
  if (args.table.dtype == DType::kF32) {
    CopyRows<float>(args);
  } else {
    CopyRows<Bf16>(args);
  }
  return EmbeddingTraffic(args);
}

Traffic EmbeddingTraffic(const EmbeddingArgs& args) {
  Traffic traffic;
  const int64_t elements = args.y.rows * args.y.cols;
  const int64_t rows =
      std::count_if(args.ids.begin(), args.ids.end(), [&](int32_t id) { return args.has(id); });
  traffic.Read(TrafficClass::kDenseWeights,
               static_cast<uint64_t>(rows * args.y.cols * DTypeBytes(args.table.dtype)));
  traffic.Read(TrafficClass::kActivations, static_cast<uint64_t>(args.y.rows * 4));
  traffic.Write(TrafficClass::kActivations, static_cast<uint64_t>(elements * 4));
  return traffic;
}

}  // namespace mneme::kernels
