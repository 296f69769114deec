#include "engine/ranks/protocol.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/plan/explain.h"

namespace mneme::ranks {
namespace {

struct TensorHeader {
  uint32_t dtype;
  uint32_t unused;
  int64_t rows;
  int64_t cols;
};

}  // namespace

absl::Status SendMessage(Channel* channel, FrameKind kind, const google::protobuf::Message& message,
                         Channel::Clock::time_point end, int fd) {
  const std::string bytes = message.SerializeAsString();
  return channel->Send(kind, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, end,
                       fd);
}

absl::Status ParseMessage(const Frame& frame, google::protobuf::Message* message) {
  if (message->ParseFromArray(frame.payload.data(), static_cast<int>(frame.payload.size()))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("frame ", static_cast<uint32_t>(frame.kind),
                                                 " of ", frame.payload.size(), " bytes is no ",
                                                 message->GetTypeName()));
}

void SetError(const absl::Status& status, v1::RankReady* ready) {
  ready->set_error_code(static_cast<int32_t>(status.code()));
  ready->set_error(std::string(status.message()));
}

absl::Status ErrorOf(const v1::RankReady& ready) {
  if (ready.error_code() == 0) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(ready.error_code()), ready.error());
}

absl::Status CheckSetup(const v1::RankSetup& setup, const std::string& build) {
  if (setup.build() != build) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the front is build ", setup.build(), ", rank ", setup.rank(), " is build ", build));
  }
  if (const std::string hash = plan::PlanHash(setup.plan()); hash != setup.plan_hash()) {
    return absl::FailedPreconditionError(absl::StrCat("the front's plan has hash ",
                                                      setup.plan_hash(), ", as rank ", setup.rank(),
                                                      " reads it ", hash));
  }
  if (setup.rank() < 0 || setup.rank() >= setup.plan().cluster().ranks()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rank ", setup.rank(), " is not in the plan's [0, ", setup.plan().cluster().ranks(), ")"));
  }
  return absl::OkStatus();
}

void WriteTensor(const kernels::TensorView& tensor, std::vector<uint8_t>* to) {
  const size_t row = static_cast<size_t>(tensor.cols * DTypeBytes(tensor.dtype));
  const TensorHeader header{static_cast<uint32_t>(tensor.dtype), 0, tensor.rows, tensor.cols};
  to->resize(sizeof header + static_cast<size_t>(tensor.rows) * row);
  std::memcpy(to->data(), &header, sizeof header);
  const auto* from = static_cast<const uint8_t*>(tensor.data);
  for (int64_t r = 0; r < tensor.rows; ++r) {
    std::memcpy(to->data() + sizeof header + static_cast<size_t>(r) * row,
                from + r * tensor.row_stride * DTypeBytes(tensor.dtype), row);
  }
}

absl::Status ReadTensor(std::span<const uint8_t> bytes, kernels::TensorView* tensor) {
  TensorHeader header{};
  if (bytes.size() >= sizeof header) std::memcpy(&header, bytes.data(), sizeof header);
  const auto dtype = static_cast<kernels::DType>(header.dtype);
  const bool known = header.dtype == static_cast<uint32_t>(kernels::DType::kF32) ||
                     header.dtype == static_cast<uint32_t>(kernels::DType::kI32);
  constexpr int64_t kMost = int64_t{1} << 31;
  const bool sized =
      header.rows >= 0 && header.cols >= 0 && header.rows < kMost && header.cols < kMost;
  if (bytes.size() < sizeof header || !known || !sized ||
      bytes.size() - sizeof header != static_cast<uint64_t>(header.rows * header.cols * 4)) {
    return absl::InvalidArgumentError(absl::StrCat(bytes.size(), " bytes are no tensor of type ",
                                                   header.dtype, " [", header.rows, ", ",
                                                   header.cols, "]"));
  }
  *tensor = {bytes.data() + sizeof header, dtype, header.rows, header.cols, header.cols};
  return absl::OkStatus();
}

}  // namespace mneme::ranks
