#include "server/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace mneme::server {
namespace {

TEST(ListenAddressTest, IsAHostAndAPort) {
  const ListenAddress address = ParseListenAddress("[::1]:50051").value();
  EXPECT_EQ(address.host, "[::1]");
  EXPECT_EQ(address.port, 50051);
  EXPECT_EQ(ParseListenAddress("localhost:0").value().port, 0);
  EXPECT_EQ(ParseListenAddress("0.0.0.0:65535").value().port, 65535);
}

TEST(ListenAddressTest, AnythingElseIsRefused) {
  for (const char* text : {"", "here", ":80", "here:"}) {
    EXPECT_EQ(std::string(ParseListenAddress(text).status().message()),
              "listen address '" + std::string(text) + "' is not HOST:PORT");
  }
  for (const char* port : {"65536", "99999", "-1", "http", "80a", "99999999999", " 80", "+80"}) {
    EXPECT_EQ(std::string(ParseListenAddress("here:" + std::string(port)).status().message()),
              "listen address 'here:" + std::string(port) + "': port '" + port +
                  "' is not in [0, 65535]");
  }
}

TEST(ListenAddressTest, TheSystemSaysWhyItCannotBeBound) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in taken = {};
  taken.sin_family = AF_INET;
  taken.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof taken;
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&taken), size), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&taken), &size), 0);
  const ListenAddress address = {"127.0.0.1", ntohs(taken.sin_port)};
  EXPECT_EQ(WhyNotBound(address), "Address already in use");
  close(fd);
  EXPECT_EQ(WhyNotBound(address), "");
  // Kept for documentation: no machine's own.
  EXPECT_EQ(WhyNotBound({"192.0.2.1", 0}), "Cannot assign requested address");
  EXPECT_NE(WhyNotBound({"no such host", 0}), "");
}

}  // namespace
}  // namespace mneme::server
