#include "engine/runtime/tcp_exchange.h"

#include <netdb.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gloo/transport/context.h"
#include "gloo/transport/device.h"
#include "gloo/transport/pair.h"
#include "gloo/transport/tcp/device.h"
#include "gloo/transport/unbound_buffer.h"

namespace mneme::runtime {
namespace {

using gloo::transport::UnboundBuffer;

// Zeroed memory of which only what is touched takes space.
class LazyMemory {
 public:
  explicit LazyMemory(int64_t bytes) : bytes_(static_cast<size_t>(bytes)) {
    if (bytes_ == 0) return;
    void* mapped = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped != MAP_FAILED) data_ = static_cast<uint8_t*>(mapped);
  }
  ~LazyMemory() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  LazyMemory(const LazyMemory&) = delete;
  LazyMemory& operator=(const LazyMemory&) = delete;

  bool ok() const { return data_ != nullptr || bytes_ == 0; }
  uint8_t* data() const { return data_; }
  std::span<uint8_t> span() const { return {data_, bytes_}; }

 private:
  const size_t bytes_;
  uint8_t* data_ = nullptr;
};

absl::StatusOr<std::string> NumericAddress(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  char text[NI_MAXHOST] = "";
  if (error == 0) {
    getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
    freeaddrinfo(found);
    return std::string(text);
  }
  return absl::UnavailableError(
      absl::StrCat("'", host, "' for the ranks' network: ", gai_strerror(error)));
}

bool Contiguous(const ExchangeBlock& b) { return b.rows <= 1 || b.row_bytes == b.stride_bytes; }

// Rows between their place in an arena and one behind the other.
void Pack(const ExchangeBlock& b, const uint8_t* arena, uint8_t* packed) {
  for (int64_t r = 0; r < b.rows; ++r) {
    std::memcpy(packed + r * b.row_bytes, arena + b.offset + r * b.stride_bytes,
                static_cast<size_t>(b.row_bytes));
  }
}
void Unpack(const ExchangeBlock& b, const uint8_t* packed, uint8_t* arena) {
  for (int64_t r = 0; r < b.rows; ++r) {
    std::memcpy(arena + b.offset + r * b.stride_bytes, packed + r * b.row_bytes,
                static_cast<size_t>(b.row_bytes));
  }
}

// What one other rank gives and takes, and Gloo's views of it. A view has one operation at a time.
struct Peer {
  explicit Peer(int64_t bytes) : mirror(bytes), packed_in(bytes), packed_out(bytes) {}

  LazyMemory mirror;
  LazyMemory packed_in;
  LazyMemory packed_out;
  std::unique_ptr<UnboundBuffer> to_mirror;
  std::unique_ptr<UnboundBuffer> to_packed;
  std::unique_ptr<UnboundBuffer> from_arena;
  std::unique_ptr<UnboundBuffer> from_packed;
  // Under way in the Swap that runs.
  UnboundBuffer* receiving = nullptr;
  UnboundBuffer* sending = nullptr;
};

}  // namespace

class TcpExchange::Impl {
 public:
  Impl(int32_t rank, int32_t ranks, int64_t arena_bytes, std::chrono::milliseconds patience)
      : rank_(rank), ranks_(ranks), patience_(patience), arena_(arena_bytes) {
    for (int32_t r = 0; r < ranks; ++r) {
      peers_.push_back(r == rank ? nullptr : std::make_unique<Peer>(arena_bytes));
    }
  }
  ~Impl() { Close(); }

  absl::Status Bind(const std::string& host) {
    for (const auto& peer : peers_) {
      if (arena_.ok() && (peer == nullptr ||
                          (peer->mirror.ok() && peer->packed_in.ok() && peer->packed_out.ok()))) {
        continue;
      }
      return absl::ResourceExhaustedError(absl::StrCat(
          "registers of ", arena_.span().size(), " bytes for ", ranks_, " ranks cannot be mapped"));
    }
    // Gloo does not survive a name that it cannot resolve.
    const absl::StatusOr<std::string> address = NumericAddress(host);
    if (!address.ok()) return address.status();
    try {
      gloo::transport::tcp::attr attr(address->c_str());
      device_ = gloo::transport::tcp::CreateDevice(attr);
    } catch (const std::exception& e) {
      return absl::UnavailableError(absl::StrCat("rank ", rank_, " cannot use '", host,
                                                 "' for the ranks' network: ", e.what()));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> Open(std::chrono::milliseconds to_connect) {
    const std::lock_guard lock(mutex_);
    Close();
    try {
      context_ = device_->createContext(rank_, ranks_);
      // Gloo waits five times as long for a connection; what else waits is told how long.
      context_->setTimeout(to_connect / 5);
      std::vector<std::string> addresses(ranks_);
      for (int32_t r = 0; r < ranks_; ++r) {
        if (r == rank_) continue;
        const std::vector<char> bytes = context_->createPair(r)->address().bytes();
        addresses[r].assign(bytes.begin(), bytes.end());
        address_bytes_ = bytes.size();
      }
      return addresses;
    } catch (const std::exception& e) {
      return absl::UnavailableError(
          absl::StrCat("rank ", rank_, " cannot listen in the ranks' network: ", e.what()));
    }
  }

  absl::Status Connect(const std::vector<std::string>& addresses) {
    if (context_ == nullptr || addresses.size() != peers_.size()) {
      return absl::InvalidArgumentError(absl::StrCat("rank ", rank_, " got ", addresses.size(),
                                                     " addresses of ", ranks_, " ranks"));
    }
    for (int32_t r = 0; r < ranks_; ++r) {
      if (r == rank_) continue;
      if (addresses[r].size() != address_bytes_) {
        return absl::InvalidArgumentError(absl::StrCat("rank ", r, "'s address for rank ", rank_,
                                                       " has ", addresses[r].size(),
                                                       " bytes, addresses have ", address_bytes_));
      }
      try {
        context_->getPair(r)->connect({addresses[r].begin(), addresses[r].end()});
      } catch (const std::exception& e) {
        return absl::UnavailableError(
            absl::StrCat("rank ", rank_, " cannot reach rank ", r, ": ", e.what()));
      }
    }
    const std::lock_guard lock(mutex_);
    const auto view = [&](std::span<uint8_t> memory) {
      return context_->createUnboundBuffer(memory.data(), memory.size());
    };
    for (auto& peer : peers_) {
      if (peer == nullptr) continue;
      peer->to_mirror = view(peer->mirror.span());
      peer->to_packed = view(peer->packed_in.span());
      peer->from_arena = view(arena_.span());
      peer->from_packed = view(peer->packed_out.span());
    }
    swaps_ = 0;
    under_way_.store(0, std::memory_order_relaxed);
    return absl::OkStatus();
  }

  // False: failed, and why is in failure().
  bool Swap(std::span<const ExchangeBlock> given, std::span<const ExchangeBlock> taken) {
    const size_t blocks = given.size() / peers_.size();
    try {
      for (size_t b = 0; b < blocks; ++b) {
        ++swaps_;
        for (int32_t r = 0; r < ranks_; ++r) Post(r, given[r * blocks + b], taken[r * blocks + b]);
        for (int32_t r = 0; r < ranks_; ++r) {
          if (r != rank_ && !Finish(r, taken[r * blocks + b])) return false;
        }
      }
    } catch (const std::exception& e) {
      const std::lock_guard lock(mutex_);
      failure_ = e.what();
      return false;
    }
    return true;
  }

  void Abort() {
    const std::lock_guard lock(mutex_);
    for (auto& peer : peers_) {
      if (peer == nullptr || peer->to_mirror == nullptr) continue;
      for (UnboundBuffer* view : {peer->to_mirror.get(), peer->to_packed.get(),
                                  peer->from_arena.get(), peer->from_packed.get()}) {
        // Whoever waits, or comes to wait, is told once.
        view->abortWaitRecv();
        view->abortWaitSend();
      }
    }
  }

  std::span<uint8_t> arena() const { return arena_.span(); }
  const uint8_t* ArenaOf(int32_t other) const {
    return other == rank_ ? arena_.data() : peers_[other]->mirror.data();
  }
  int64_t under_way() const { return under_way_.load(std::memory_order_relaxed); }
  std::string failure() const {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

 private:
  void Close() {
    for (auto& peer : peers_) {
      if (peer == nullptr) continue;
      peer->to_mirror.reset();
      peer->to_packed.reset();
      peer->from_arena.reset();
      peer->from_packed.reset();
    }
    context_.reset();
  }

  // The rank's thread alone changes the count.
  void Count(int64_t change) { under_way_.store(under_way() + change, std::memory_order_relaxed); }

  void Post(int32_t r, const ExchangeBlock& given, const ExchangeBlock& taken) {
    if (r == rank_) return;
    Peer& peer = *peers_[r];
    peer.receiving = nullptr;
    peer.sending = nullptr;
    if (taken.bytes() > 0) {
      const bool direct = Contiguous(taken);
      peer.receiving = direct ? peer.to_mirror.get() : peer.to_packed.get();
      Count(1);
      peer.receiving->recv(r, swaps_, direct ? static_cast<size_t>(taken.offset) : 0,
                           static_cast<size_t>(taken.bytes()));
    }
    if (given.bytes() > 0) {
      const bool direct = Contiguous(given);
      if (!direct) Pack(given, arena_.data(), peer.packed_out.data());
      peer.sending = direct ? peer.from_arena.get() : peer.from_packed.get();
      Count(1);
      peer.sending->send(r, swaps_, direct ? static_cast<size_t>(given.offset) : 0,
                         static_cast<size_t>(given.bytes()));
    }
  }

  bool Finish(int32_t r, const ExchangeBlock& taken) {
    Peer& peer = *peers_[r];
    if (peer.receiving != nullptr) {
      if (!peer.receiving->waitRecv(patience_)) return false;
      Count(-1);
      if (!Contiguous(taken)) Unpack(taken, peer.packed_in.data(), peer.mirror.data());
    }
    if (peer.sending == nullptr) return true;
    if (!peer.sending->waitSend(patience_)) return false;
    Count(-1);
    return true;
  }

  const int32_t rank_;
  const int32_t ranks_;
  const std::chrono::milliseconds patience_;
  LazyMemory arena_;
  std::vector<std::unique_ptr<Peer>> peers_;  // by rank; own: null
  std::shared_ptr<gloo::transport::Device> device_;
  std::shared_ptr<gloo::transport::Context> context_;
  size_t address_bytes_ = 0;  // of each that Open gave
  uint64_t swaps_ = 0;
  std::atomic<int64_t> under_way_{0};  // sends and receives
  mutable std::mutex mutex_;  // of the views, between Abort and the rank's thread, and failure_
  std::string failure_;
};

TcpExchange::TcpExchange(int32_t rank, int32_t ranks) : Exchange(rank, ranks) {}
TcpExchange::~TcpExchange() = default;

absl::StatusOr<std::unique_ptr<TcpExchange>> TcpExchange::Create(
    int32_t rank, int32_t ranks, int64_t arena_bytes, const std::string& host,
    std::chrono::milliseconds patience) {
  // A peer may be gone while Gloo writes to it.
  signal(SIGPIPE, SIG_IGN);
  std::unique_ptr<TcpExchange> exchange(new TcpExchange(rank, ranks));
  exchange->impl_ = std::make_unique<Impl>(rank, ranks, arena_bytes, patience);
  if (absl::Status status = exchange->impl_->Bind(host); !status.ok()) return status;
  return exchange;
}

absl::StatusOr<std::vector<std::string>> TcpExchange::Open(std::chrono::milliseconds to_connect) {
  return impl_->Open(to_connect);
}

absl::Status TcpExchange::Connect(const std::vector<std::string>& addresses) {
  absl::Status status = impl_->Connect(addresses);
  if (status.ok()) Recover();
  return status;
}

std::span<uint8_t> TcpExchange::arena() const { return impl_->arena(); }
const uint8_t* TcpExchange::ArenaOf(int32_t other) const { return impl_->ArenaOf(other); }
int64_t TcpExchange::credits_out() const { return impl_->under_way(); }
std::string TcpExchange::failure() const { return impl_->failure(); }

bool TcpExchange::Swap(std::span<const ExchangeBlock> given, std::span<const ExchangeBlock> taken) {
  if (failed()) return false;
  SetWaiting(true);
  const bool swapped = impl_->Swap(given, taken);
  SetWaiting(false);
  return (swapped && !failed()) || Fail();
}

void TcpExchange::Abort() {
  Fail();
  impl_->Abort();
}

}  // namespace mneme::runtime
