// The exchange of ranks on several hosts: blocks go from rank to rank over TCP connections, by
// Gloo's tagged send and receive. What others give lies in a mirror of their arena. Gloo moves
// bytes and nothing else; what it throws ends here.
//
// Connections belong to a generation: ranks Open one, tell each other their addresses by other
// means, and Connect. Gloo does not know who connects: the ranks' network must be private.
// SIGPIPE is ignored in a process that has such an exchange.
#ifndef MNEME_ENGINE_RUNTIME_TCP_EXCHANGE_H_
#define MNEME_ENGINE_RUNTIME_TCP_EXCHANGE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/runtime/exchange.h"

namespace mneme::runtime {

class TcpExchange : public Exchange {
 public:
  // host: this host's name or address in the ranks' network. patience: how long a peer may neither
  // give nor take; then the exchange fails. UNAVAILABLE names the host and why nothing can be bound
  // there, RESOURCE_EXHAUSTED the memory.
  static absl::StatusOr<std::unique_ptr<TcpExchange>> Create(int32_t rank, int32_t ranks,
                                                             int64_t arena_bytes,
                                                             const std::string& host,
                                                             std::chrono::milliseconds patience);
  ~TcpExchange() override;

  // Ends the generation before and begins another: where each other rank connects to, by rank (own:
  // empty). Bytes that only Connect understands. to_connect: how long Connect may wait for one of
  // the others. REQUIRES: not inside another method but Abort.
  absl::StatusOr<std::vector<std::string>> Open(
      std::chrono::milliseconds to_connect = std::chrono::seconds(10));
  // The addresses that the other ranks opened for this one, by rank. All ranks connect at the same
  // time. UNAVAILABLE names the rank that could not be reached, also in time; INVALID_ARGUMENT what
  // is no address.
  absl::Status Connect(const std::vector<std::string>& addresses);

  std::span<uint8_t> arena() const override;
  const uint8_t* ArenaOf(int32_t other) const override;
  bool BeginStep() override { return !failed(); }
  bool Swap(std::span<const ExchangeBlock> given, std::span<const ExchangeBlock> taken) override;
  bool Settle() override { return !failed(); }
  int64_t credits_out() const override;
  // Of this rank alone: others fail when they next wait for it.
  void Abort() override;
  // What failed last; empty before.
  std::string failure() const;

 private:
  class Impl;
  TcpExchange(int32_t rank, int32_t ranks);

  std::unique_ptr<Impl> impl_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_TCP_EXCHANGE_H_
