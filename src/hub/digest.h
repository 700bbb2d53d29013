// SHA-256 and git's SHA-1, the two hashes by which a hub names the content of its files: large files by the SHA-256 of
// their bytes, small ones by the id git gives them, SHA-1 of "blob <size>", a zero byte, and the bytes.
//
// Both come from OpenSSL's libcrypto, which libcurl brings along; it is loaded when the first hash is made.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace fovea::hub {

class Digest {
 public:
  enum class Kind { kSha256, kSha1 };
  // Throws kUnimplemented when libcrypto is missing.
  explicit Digest(Kind kind);
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  Digest& Add(std::span<const uint8_t> bytes);
  Digest& Add(std::string_view text);
  std::string Hex();  // lower case; once, at the end

 private:
  void* context_;
};

// The SHA-256 of a file, or git's id of it. Throws kNotFound, kIo.
std::string FileSha256(const std::string& path);
std::string FileGitSha1(const std::string& path);

// "OpenSSL 3.0.19 ...", "" when libcrypto cannot be loaded.
std::string CryptoVersion();

}  // namespace fovea::hub
