#include "hub/digest.h"

#include <dlfcn.h>
#include <openssl/evp.h>

#include "base/error.h"
#include "base/file.h"

namespace fovea::hub {
namespace {

#define FOVEA_CRYPTO_FUNCTIONS(X) \
  X(EVP_MD_CTX_new)               \
  X(EVP_MD_CTX_free) X(EVP_DigestInit_ex) X(EVP_DigestUpdate) X(EVP_DigestFinal_ex) X(EVP_sha256) X(EVP_sha1)

struct Library {
#define FOVEA_DECLARE(name) decltype(&::name) name = nullptr;
  FOVEA_CRYPTO_FUNCTIONS(FOVEA_DECLARE)
#undef FOVEA_DECLARE
  decltype(&::OpenSSL_version) OpenSSL_version = nullptr;
  bool is_loaded = false;
};

// Loaded once and kept for the life of the process.
const Library& Crypto() {
  static const Library library = [] {
    Library loaded;
    void* handle = ::dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return loaded;
    loaded.is_loaded = true;
#define FOVEA_LOAD(name)                                                     \
  loaded.name = reinterpret_cast<decltype(&::name)>(::dlsym(handle, #name)); \
  loaded.is_loaded = loaded.is_loaded && loaded.name != nullptr;
    FOVEA_CRYPTO_FUNCTIONS(FOVEA_LOAD)
    FOVEA_LOAD(OpenSSL_version)
#undef FOVEA_LOAD
    return loaded;
  }();
  return library;
}
#undef FOVEA_CRYPTO_FUNCTIONS

void AddFile(const base::MappedFile& file, Digest& digest) {
  constexpr size_t kPiece = 16 << 20;
  for (auto rest = file.bytes(); !rest.empty(); rest = rest.subspan(std::min(kPiece, rest.size())))
    digest.Add(rest.first(std::min(kPiece, rest.size())));
}

}  // namespace

Digest::Digest(Kind kind) {
  const Library& crypto = Crypto();
  if (!crypto.is_loaded) {
    Fail(ErrorCode::kUnimplemented,
         "[hub] checking downloads needs OpenSSL's libcrypto.so.3, which is not there; hint: apt install libssl3");
  }
  context_ = crypto.EVP_MD_CTX_new();
  const EVP_MD* type = kind == Kind::kSha256 ? crypto.EVP_sha256() : crypto.EVP_sha1();
  if (context_ == nullptr || crypto.EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), type, nullptr) != 1) {
    crypto.EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_));
    Fail(ErrorCode::kInternal, "[hub] libcrypto refuses to hash");
  }
}

Digest::~Digest() { Crypto().EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

Digest& Digest::Add(std::span<const uint8_t> bytes) {
  Crypto().EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size());
  return *this;
}

Digest& Digest::Add(std::string_view text) { return Add({reinterpret_cast<const uint8_t*>(text.data()), text.size()}); }

std::string Digest::Hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  Crypto().EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest, &size);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

std::string FileSha256(const std::string& path) {
  Digest digest(Digest::Kind::kSha256);
  AddFile(*base::MappedFile::Open(path), digest);
  return digest.Hex();
}

std::string FileGitSha1(const std::string& path) {
  const auto file = base::MappedFile::Open(path);
  Digest digest(Digest::Kind::kSha1);
  digest.Add("blob " + std::to_string(file->bytes().size())).Add(std::string_view("\0", 1));
  AddFile(*file, digest);
  return digest.Hex();
}

std::string CryptoVersion() { return Crypto().is_loaded ? Crypto().OpenSSL_version(OPENSSL_VERSION) : ""; }

}  // namespace fovea::hub
