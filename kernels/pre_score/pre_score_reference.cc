#include "kernels/pre_score/pre_score.h"
#include "kernels/value_gather/value_uses.h"

namespace mneme::kernels {
namespace {

template <class T>
void Score(const PreScoreArgs& args) {
  for (int64_t t = 0; t < args.slot.rows; ++t) {
    for (int64_t s = 0; s < args.slot.cols; ++s) {
      const T* row = reinterpret_cast<const T*>(args.table.row(args.slot.row(t)[s]));
      float sum = 0;
      for (int32_t i = 0; i < args.table.pre_width; ++i) {
        sum += ToFloat(row[args.table.pre_offset + i]) * args.pre_query.row(t)[i];
      }
      args.y.row(t)[s] = sum;
    }
  }
}

}  // namespace

Traffic PreScoreTraffic(const PreScoreArgs& args, int64_t distinct_rows) {
  const int64_t tokens = args.slot.rows;
  Traffic traffic;
  traffic.Read(TrafficClass::kValueRows,
               distinct_rows * args.table.pre_width * DTypeBytes(args.table.dtype));
  traffic.Read(TrafficClass::kActivations, tokens * (args.slot.cols + args.table.pre_width) * 4);
  traffic.Write(TrafficClass::kActivations, tokens * args.slot.cols * 4);
  return traffic;
}

Traffic PreScoreReference(const PreScoreArgs& args) {
  if (args.table.dtype == DType::kBf16) {
    Score<Bf16>(args);
  } else {
    Score<float>(args);
  }
  const int64_t bytes = args.table.pre_width * DTypeBytes(args.table.dtype);
  return PreScoreTraffic(args, ShareRows(SortUses(args.slot, RowShare(), args.scratch), args.slot,
                                         bytes, args.token_bytes));
}

}  // namespace mneme::kernels
