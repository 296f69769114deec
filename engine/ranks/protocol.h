// What the frames between the front and the ranks carry (proto/mneme/v1/ranks.proto).
#ifndef MNEME_ENGINE_RANKS_PROTOCOL_H_
#define MNEME_ENGINE_RANKS_PROTOCOL_H_

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "engine/ranks/channel.h"
#include "google/protobuf/message.h"
#include "kernels/tensor/tensor.h"
#include "proto/mneme/v1/ranks.pb.h"

namespace mneme::ranks {

// What a rank tells while it lives.
struct Heartbeat {
  uint64_t progress = 0;  // runtime::Rank::progress
  uint32_t waiting = 0;   // runtime::Exchange::waiting
  uint32_t unused = 0;
};

// The bytes of a plain struct, which outlives the view.
template <class T>
requires std::is_trivially_copyable_v<T> std::span<const uint8_t> AsBytes(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

absl::Status SendMessage(Channel* channel, FrameKind kind, const google::protobuf::Message& message,
                         Channel::Clock::time_point end, int fd = -1);
// INVALID_ARGUMENT names the message that the frame does not hold.
absl::Status ParseMessage(const Frame& frame, google::protobuf::Message* message);

// A status in a message, and back.
void SetError(const absl::Status& status, v1::RankReady* ready);
absl::Status ErrorOf(const v1::RankReady& ready);

// FAILED_PRECONDITION names what the front and this rank differ in: the build, the plan's hash.
absl::Status CheckSetup(const v1::RankSetup& setup, const std::string& build);

// A tensor of f32 or i32 with its rows side by side: dtype, 32 bits unused, rows, columns,
// elements.
void WriteTensor(const kernels::TensorView& tensor, std::vector<uint8_t>* to);
// INVALID_ARGUMENT for bytes that are no such tensor. The view is of `bytes`.
absl::Status ReadTensor(std::span<const uint8_t> bytes, kernels::TensorView* tensor);

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_PROTOCOL_H_
