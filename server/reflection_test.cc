// Server reflection, as grpcurl uses it: which services there are, and what one of them looks like.
//
// Debian ships no generated code of the protocol, so its few fields are written and read by hand
// (grpc/reflection/v1alpha/reflection.proto):
//   ServerReflectionRequest:  file_containing_symbol = 4, list_services = 7
//   ServerReflectionResponse: file_descriptor_response = 4, list_services_response = 6
//   FileDescriptorResponse:   repeated file_descriptor_proto = 1
//   ListServiceResponse:      repeated service = 1; ServiceResponse: name = 1
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <gtest/gtest.h>

#include "server/server.h"
#include "server/test_client.h"
#include "server/test_engine.h"

namespace mneme::server {
namespace {

using ::testing::IsSupersetOf;
using ::testing::UnorderedElementsAre;

// The values of a message's string, bytes or message field.
std::vector<std::string> Field(const std::string& message, int number) {
  using google::protobuf::internal::WireFormatLite;
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(message.data()),
                                            static_cast<int>(message.size()));
  std::vector<std::string> values;
  while (const uint32_t tag = in.ReadTag()) {
    uint32_t size = 0;
    if (WireFormatLite::GetTagFieldNumber(tag) != number) {
      EXPECT_TRUE(WireFormatLite::SkipField(&in, tag));
    } else {
      EXPECT_TRUE(in.ReadVarint32(&size) &&
                  in.ReadString(&values.emplace_back(), static_cast<int>(size)));
    }
  }
  return values;
}

std::string StringField(int number, const std::string& value) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(value.size())} + value;
}

class ReflectionTest : public ::testing::Test {
 protected:
  ReflectionTest() : engine_(TestEngineOptions{}) {
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    server_ = *Server::Start(options, &engine_);
  }

  // The response's field, of which there is one.
  std::string Ask(const std::string& request, int response_field) {
    std::string reply;
    const grpc::Status status =
        RawStreamCall(*server_, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                      request, &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    const std::vector<std::string> values = Field(reply, response_field);
    EXPECT_EQ(values.size(), 1u);
    return values.empty() ? "" : values[0];
  }

  TestEngine engine_;
  std::unique_ptr<Server> server_;
};

TEST_F(ReflectionTest, ListsTheServices) {
  std::vector<std::string> names;
  for (const std::string& service : Field(Ask(StringField(7, "*"), 6), 1)) {
    for (const std::string& name : Field(service, 1)) names.push_back(name);
  }
  EXPECT_THAT(names, IsSupersetOf({"mneme.v1.Generation", "grpc.health.v1.Health"}));
}

TEST_F(ReflectionTest, ResolvesTheGenerationService) {
  std::vector<std::string> methods;
  for (const std::string& bytes : Field(Ask(StringField(4, "mneme.v1.Generation"), 4), 1)) {
    google::protobuf::FileDescriptorProto file;
    ASSERT_TRUE(file.ParseFromString(bytes));
    for (const auto& service : file.service()) {
      EXPECT_EQ(file.package() + "." + service.name(), "mneme.v1.Generation");
      for (const auto& method : service.method()) methods.push_back(method.name());
    }
  }
  EXPECT_THAT(methods,
              UnorderedElementsAre("Generate", "Tokenize", "Detokenize", "GetModel", "GetStats"));
}

}  // namespace
}  // namespace mneme::server
