// Messages between two processes over a connected stream socket (Unix or TCP). A message is a
// frame: 32-bit words magic and kind, a 64-bit payload size, the payload; in the machine's byte
// order, for both ends run the same build. On a Unix socket a frame may carry one file descriptor.
//
// One thread at a time may send, one receive; Shutdown is for any thread. Writing to a closed peer
// is an error, never a signal. Steady state allocates nothing: a Frame's memory is used again.
#ifndef MNEME_ENGINE_RANKS_CHANNEL_H_
#define MNEME_ENGINE_RANKS_CHANNEL_H_

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mneme::ranks {

enum class FrameKind : uint32_t {
  kSetup = 1,  // RankSetup
  kReady,      // RankReady
  kLeave,      // the front gives a generation up: no payload
  kLeft,       // the rank is through with its steps: RankReady, for its new addresses
  kJoin,       // RankJoin
  kJoined,     // RankReady
  kStep,       // step_message.h
  kResult,     // result_message.h
  kFetch,      // a register's name: its part in the last step is wanted
  kFetched,    // that part: rows, columns, type, elements
  kHello,      // who connects: rank_host.h
  kHeartbeat,  // heartbeat.h
};

// A setup with its plan, and a plan's longest step: more than that is no message of ours.
inline constexpr uint64_t kMostFrameBytes = uint64_t{256} << 20;

struct Frame {
  FrameKind kind{};
  std::vector<uint8_t> payload;
  int fd = -1;  // taken over by whoever receives the frame; -1: none
};

class Channel {
 public:
  using Clock = std::chrono::steady_clock;

  // Takes the socket. A larger payload than `most_payload` is refused when received.
  Channel(int socket, uint64_t most_payload);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Two ends that are connected. RESOURCE_EXHAUSTED when the system refuses.
  struct Pair {
    int mine = -1;
    int theirs = -1;  // not closed on exec only once it is given to a child
  };
  static absl::StatusOr<Pair> MakePair();

  // UNAVAILABLE when the peer is gone, DEADLINE_EXCEEDED when it takes no more until `end`. With
  // either the channel is of no use any more.
  absl::Status Send(FrameKind kind, std::span<const uint8_t> payload, Clock::time_point end,
                    int fd = -1);
  // Looks for `spin`, then sleeps. UNAVAILABLE when the peer is gone, DEADLINE_EXCEEDED at `end`
  // with nothing received (the channel stays usable), INVALID_ARGUMENT for what is no frame.
  absl::Status Receive(std::chrono::microseconds spin, Clock::time_point end, Frame* frame);

  // From now on frames of so many bytes are taken.
  void SetMostPayload(uint64_t most_payload) { most_payload_ = most_payload; }
  // The peer, and every call here that waits, sees the end of the stream.
  void Shutdown();
  int socket() const { return socket_; }

 private:
  absl::Status Read(uint8_t* to, size_t bytes, std::chrono::microseconds spin,
                    Clock::time_point end, bool begun, int* fd);

  const int socket_;
  uint64_t most_payload_;
};

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_CHANNEL_H_
