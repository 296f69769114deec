#include "kernels/embedding/embedding.h"

namespace mneme::kernels {
namespace {

template <class W>
void CopyRows(const EmbeddingArgs& args) {
  const Matrix<const W> table = args.table.As<W>();
  for (int64_t t = 0; t < args.y.rows; ++t) {
    const W* row = table.row(args.ids[static_cast<size_t>(t)]);
    for (int64_t i = 0; i < args.y.cols; ++i) args.y.row(t)[i] = ToFloat(row[i]);
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
  traffic.Read(TrafficClass::kDenseWeights,
               static_cast<uint64_t>(elements * DTypeBytes(args.table.dtype)));
  traffic.Read(TrafficClass::kActivations, static_cast<uint64_t>(args.y.rows * 4));
  traffic.Write(TrafficClass::kActivations, static_cast<uint64_t>(elements * 4));
  return traffic;
}

}  // namespace mneme::kernels
