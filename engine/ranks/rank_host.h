// Ranks on other hosts: each is a `mneme rank --listen` that waits for a front, which connects to
// it twice and says the token that both were given. Nothing else is read of a stranger. There is no
// encryption: the ranks' network must be private.
#ifndef MNEME_ENGINE_RANKS_RANK_HOST_H_
#define MNEME_ENGINE_RANKS_RANK_HOST_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/ranks/channel.h"
#include "engine/ranks/rank_peer.h"

namespace mneme::ranks {

// A shorter token is refused on both sides.
inline constexpr size_t kLeastTokenBytes = 16;
inline constexpr size_t kMostTokenBytes = 1024;

// The front's side: connects to HOST:PORT. UNAVAILABLE names the address and why it cannot be
// reached within `patience`, INVALID_ARGUMENT what is no address. Whether the token was right shows
// when the rank answers.
absl::StatusOr<std::unique_ptr<RankPeer>> ConnectToRank(const std::string& address,
                                                        const std::string& token,
                                                        std::chrono::milliseconds patience);

// The rank's side.
class RankListener {
 public:
  // HOST:PORT; port 0 takes a free one. UNAVAILABLE names the address that cannot be bound.
  static absl::StatusOr<std::unique_ptr<RankListener>> Listen(const std::string& address,
                                                              const std::string& token);
  ~RankListener();
  RankListener(const RankListener&) = delete;
  RankListener& operator=(const RankListener&) = delete;

  // HOST:PORT with the port that was bound.
  const std::string& address() const { return address_; }
  struct Front {
    std::unique_ptr<Channel> front;
    std::unique_ptr<Channel> control;
  };
  // Waits for both connections of a front that knows the token; others are closed, one after the
  // other, each within some seconds. CANCELLED after Stop().
  absl::StatusOr<Front> Accept();
  // Any thread, also a signal's: Accept ends.
  void Stop();

 private:
  RankListener(int socket, std::string address, std::string token)
      : socket_(socket), address_(std::move(address)), token_(std::move(token)) {}

  const int socket_;
  const std::string address_;
  const std::string token_;
};

}  // namespace mneme::ranks

#endif  // MNEME_ENGINE_RANKS_RANK_HOST_H_
