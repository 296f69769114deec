#include "engine/ranks/transport.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/runtime/shared_exchange.h"
#include "engine/runtime/tcp_exchange.h"

namespace mneme::ranks {
namespace {

class SharedTransport : public Transport {
 public:
  SharedTransport(std::unique_ptr<runtime::SharedRegion> region, const v1::RankSetup& setup)
      : region_(std::move(region)),
        exchange_(region_.get(), setup.rank(), std::chrono::microseconds(setup.spin_us())) {}

  runtime::Exchange* exchange() override { return &exchange_; }
  int descriptor() const override { return region_->fd(); }
  absl::StatusOr<Addresses> Open() override {
    // The front's is the last to open: all others have left.
    if (exchange_.rank() == 0) region_->Reset();
    return Addresses(region_->ranks());
  }
  absl::Status Connect(const Addresses&) override {
    exchange_.Restart();
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<runtime::SharedRegion> region_;
  runtime::SharedExchange exchange_;
};

class TcpTransport : public Transport {
 public:
  explicit TcpTransport(std::unique_ptr<runtime::TcpExchange> exchange)
      : exchange_(std::move(exchange)) {}

  runtime::Exchange* exchange() override { return exchange_.get(); }
  absl::StatusOr<Addresses> Open() override { return exchange_->Open(); }
  absl::Status Connect(const Addresses& addresses) override {
    return exchange_->Connect(addresses);
  }

 private:
  const std::unique_ptr<runtime::TcpExchange> exchange_;
};

absl::StatusOr<std::unique_ptr<Transport>> Shared(
    absl::StatusOr<std::unique_ptr<runtime::SharedRegion>> region, const v1::RankSetup& setup) {
  if (!region.ok()) return region.status();
  return std::make_unique<SharedTransport>(*std::move(region), setup);
}

absl::StatusOr<std::unique_ptr<Transport>> Tcp(const v1::RankSetup& setup) {
  absl::StatusOr<std::unique_ptr<runtime::TcpExchange>> exchange = runtime::TcpExchange::Create(
      setup.rank(), setup.plan().cluster().ranks(), setup.plan().arena_bytes(), setup.bind_host(),
      std::chrono::milliseconds(setup.exchange_timeout_ms()));
  if (!exchange.ok()) return exchange.status();
  return std::make_unique<TcpTransport>(*std::move(exchange));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeFrontTransport(const v1::RankSetup& setup) {
  if (setup.transport() == v1::RankSetup::TCP) return Tcp(setup);
  return Shared(
      runtime::SharedRegion::CreateFile(setup.plan().cluster().ranks(), setup.plan().arena_bytes()),
      setup);
}

absl::StatusOr<std::unique_ptr<Transport>> MakeRankTransport(const v1::RankSetup& setup, int fd) {
  if (setup.transport() == v1::RankSetup::TCP) {
    if (fd >= 0) close(fd);
    return Tcp(setup);
  }
  if (fd < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", setup.rank(), " got no shared memory from its front"));
  }
  return Shared(
      runtime::SharedRegion::Map(fd, setup.plan().cluster().ranks(), setup.plan().arena_bytes()),
      setup);
}

}  // namespace mneme::ranks
