//! Transformations of the plane (ISO 32000, 8.3.4).

/// `[a b c d e f]`: a point (x, y) goes to (a x + c y + e, b x + d y + f).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matrix {
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) c: f64,
    pub(super) d: f64,
    pub(super) e: f64,
    pub(super) f: f64,
}

impl Matrix {
    /// Changes nothing.
    pub(super) const IDENTITY: Matrix = Matrix { a: 1.0, b: 0.0, c: 0.0, d: 1.0, e: 0.0, f: 0.0 };

    /// Of six numbers.
    pub(super) fn new(numbers: &[f64]) -> Option<Matrix> {
        let [a, b, c, d, e, f] = *numbers else { return None };
        Some(Matrix { a, b, c, d, e, f })
    }

    /// A translation.
    pub(super) fn translation(x: f64, y: f64) -> Matrix {
        Matrix { e: x, f: y, ..Matrix::IDENTITY }
    }

    /// This one, then the other.
    pub(super) fn then(&self, other: &Matrix) -> Matrix {
        Matrix {
            a: self.a * other.a + self.b * other.c,
            b: self.a * other.b + self.b * other.d,
            c: self.c * other.a + self.d * other.c,
            d: self.c * other.b + self.d * other.d,
            e: self.e * other.a + self.f * other.c + other.e,
            f: self.e * other.b + self.f * other.d + other.f,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_is_applied_first() {
        let scale = Matrix { a: 2.0, d: 2.0, ..Matrix::IDENTITY };
        let both = scale.then(&Matrix::translation(10.0, 0.0));
        assert_eq!((both.a, both.e), (2.0, 10.0));
        let other = Matrix::translation(10.0, 0.0).then(&scale);
        assert_eq!((other.a, other.e), (2.0, 20.0));
    }
}
