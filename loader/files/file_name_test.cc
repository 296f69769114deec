#include "loader/files/file_name.h"

#include <string>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

TEST(FileNameTest, WhatMnemeGivesIsPlain) {
  for (const char* name : {"model-00001-of-00002.safetensors", "config.yaml", "_", "a+b", "0"}) {
    EXPECT_TRUE(IsPlainName(name)) << name;
    EXPECT_TRUE(IsEntryName(name)) << name;
  }
  EXPECT_TRUE(IsPlainName(std::string(kMostNameBytes, 'a')));
}

TEST(FileNameTest, OthersMayHaveOtherNames) {
  for (const char* name : {".hidden", "-rf", "a b", "a\\b", "\xc3\xa4", "a\nb", "..."}) {
    EXPECT_FALSE(IsPlainName(name)) << name;
    EXPECT_TRUE(IsEntryName(name)) << name;
  }
}

TEST(FileNameTest, NamesStayInTheirFolder) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("/a"),
        std::string("../a"), std::string("a/"), std::string("a\0b", 3),
        std::string(kMostNameBytes + 1, 'a')}) {
    EXPECT_FALSE(IsPlainName(name)) << name;
    EXPECT_FALSE(IsEntryName(name)) << name;
  }
}

}  // namespace
}  // namespace mneme::loader
