//! JSON Web Tokens: who issued one, whether it counts, and what it says.
